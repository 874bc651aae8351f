package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

var allAlgorithms = []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

var (
	errUnknownKey      = errors.New("no such key")
	errAlgorithm       = errors.New("not an algorithm of the key")
	errKeysUnavailable = errors.New("keys unavailable")
)

// keySet finds the keys a token may be signed with. The error is one of the above.
type keySet interface {
	find(ctx context.Context, kid, algorithm string) (jwt.VerificationKeySet, error)
	// renew looks for other keys after those of a generation did not fit, unless one of them has the very kid. It reports
	// whether there are others now.
	renew(ctx context.Context, kid string, tried uint64) bool
	// generation changes whenever the keys do.
	generation() uint64
	release()
}

// key is one key and the algorithms it may be used with.
type key struct {
	kid        string
	value      any
	algorithms []string
}

// keys are keys that do not change.
type keys []key

func (k keys) generation() uint64 { return 0 }
func (k keys) release()           {}

func (k keys) renew(context.Context, string, uint64) bool { return false }

// maxTried bounds how many keys a token without a kid is checked against: whoever sends rubbish costs that many
// signature checks.
const maxTried = 4

// find returns the key with the token's kid. A token that names no key, or keys without names, leave the choice to the
// algorithm, and each that fits is tried.
func (k keys) find(_ context.Context, kid, algorithm string) (jwt.VerificationKeySet, error) {
	err := errUnknownKey
	var found jwt.VerificationKeySet
	for i := range k {
		if kid != "" && k[i].kid != "" && kid != k[i].kid {
			continue
		}
		if !slices.Contains(k[i].algorithms, algorithm) {
			err = errAlgorithm
		} else if len(found.Keys) < maxTried {
			found.Keys = append(found.Keys, k[i].value)
		}
	}
	if len(found.Keys) == 0 {
		return found, err
	}
	return found, nil
}

func loadKeys(provider string, cfg *config.JWT, prev *provider, o *Options) (keySet, error) {
	switch {
	case cfg.Secret != "":
		secret := []byte(cfg.Secret.Reveal())
		return single("", secret, cfg.Algorithms)
	case cfg.KeyFile != "":
		raw, err := os.ReadFile(string(cfg.KeyFile))
		if err != nil {
			return nil, err
		}
		public, err := parsePEM(raw)
		if err != nil {
			return nil, fmt.Errorf("key_file %s: %w", cfg.KeyFile, err)
		}
		return single("", public, cfg.Algorithms)
	case cfg.JWKSFile != "":
		raw, err := os.ReadFile(string(cfg.JWKSFile))
		if err != nil {
			return nil, err
		}
		set, err := parseJWKS(raw, cfg.Algorithms)
		if err != nil {
			return nil, fmt.Errorf("jwks_file %s: %w", cfg.JWKSFile, err)
		}
		return set, nil
	}
	if prev != nil && prev.config.JWT != nil && sameFetch(prev.config.JWT, cfg) {
		if remote, ok := prev.verifier.(*jwtVerifier).keys.(*remoteKeys); ok {
			return again(remote), nil
		}
	}
	return newRemoteKeys(cfg, o.Telemetry.Source(telemetry.KeySets, provider)), nil
}

// sameFetch reports whether two configurations fetch the same keys in the same way, whatever else they ask of a token.
func sameFetch(a, b *config.JWT) bool {
	return a.JWKSURL == b.JWKSURL && a.Discovery == b.Discovery && (!a.Discovery || a.Issuer == b.Issuer) && slices.Equal(a.Algorithms, b.Algorithms) &&
		a.JWKSCacheTime == b.JWKSCacheTime && a.JWKSRefreshFloor == b.JWKSRefreshFloor
}

func single(kid string, value any, wanted []string) (keys, error) {
	algorithms := restrict(algorithmsOf(value), wanted)
	if len(algorithms) == 0 {
		return nil, fmt.Errorf("none of the algorithms %v fits the key", wanted)
	}
	return keys{{kid, value, algorithms}}, nil
}

// algorithmsOf returns what a key may be used with. HMAC only with a secret: a public key is no secret, whoever knows it
// could sign with it.
func algorithmsOf(value any) []string {
	switch k := value.(type) {
	case []byte:
		var list []string
		for i, name := range []string{"HS256", "HS384", "HS512"} {
			// RFC 7518 section 3.2: a key of at least the hash's length.
			if len(k) >= 32+16*i {
				list = append(list, name)
			}
		}
		return list
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return nil // RFC 7518 section 3.3
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil {
			return nil // not a point on the curve
		}
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

func restrict(have, wanted []string) []string {
	if len(wanted) == 0 {
		return have
	}
	return slices.DeleteFunc(slices.Clone(have), func(a string) bool { return !slices.Contains(wanted, a) })
}

func parsePEM(raw []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("expected PEM with a public key or a certificate")
	}
	switch block.Type {
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
	return nil, fmt.Errorf("expected a PUBLIC KEY or a CERTIFICATE, got %q", block.Type)
}

// parseJWKS reads a JSON Web Key Set (RFC 7517). Keys of kinds that are not known, or not for signatures, are passed
// over, as its section 5 asks.
func parseJWKS(raw []byte, wanted []string) (keys, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil || doc.Keys == nil {
		return nil, errors.New("expected a JSON Web Key Set: an object with keys")
	}
	var set keys
	for _, one := range doc.Keys {
		var m jwkset.JWKMarshal
		if json.Unmarshal(one, &m) != nil || m.USE != "" && m.USE != jwkset.UseSig {
			continue
		}
		// jwkset's own validation panics on an elliptic curve point beyond the field. algorithmsOf does what is needed of it.
		jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipAll: true})
		if err != nil {
			continue
		}
		value := jwk.Key()
		algorithms := restrict(algorithmsOf(value), wanted)
		if m.ALG != "" {
			algorithms = restrict(algorithms, []string{m.ALG.String()})
		}
		if len(algorithms) > 0 {
			set = append(set, key{m.KID, value, algorithms})
		}
	}
	if len(set) == 0 {
		return nil, errors.New("the set has no key that can verify a signature")
	}
	return set, nil
}
