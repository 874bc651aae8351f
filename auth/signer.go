package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/crossgate/crossgate/config"
)

// Signer signs the tokens by which backends know who a caller is. It is immutable.
type Signer struct {
	method   jwt.SigningMethod
	key      crypto.Signer
	kid      string
	issuer   string
	lifetime time.Duration
	jwks     []byte
}

// CompileSigner reads the key of identity tokens; nil stays nil.
func CompileSigner(cfg *config.IdentityTokens) (*Signer, error) {
	if cfg == nil {
		return nil, nil
	}
	s := &Signer{issuer: cfg.Issuer, lifetime: cfg.Lifetime.Std()}
	raw, err := os.ReadFile(string(cfg.Key))
	if err != nil {
		return nil, config.Errorf(cfg.Pos, "identity_tokens: %w", err)
	}
	if s.method, s.key, err = parsePrivate(raw); err != nil {
		return nil, config.Errorf(cfg.Pos, "identity_tokens: key %s: %w", cfg.Key, err)
	}
	public := []crypto.PublicKey{s.key.Public()}
	for _, file := range cfg.AlsoPublish {
		raw, err := os.ReadFile(string(file))
		if err != nil {
			return nil, config.Errorf(cfg.Pos, "identity_tokens: %w", err)
		}
		one, err := parsePEM(raw)
		if err == nil && len(algorithmsOf(one)) == 0 {
			err = errors.New("no key of a kind that signs tokens")
		}
		if err != nil {
			return nil, config.Errorf(cfg.Pos, "identity_tokens: also_publish %s: %w", file, err)
		}
		public = append(public, one)
	}
	if s.jwks, s.kid, err = publish(public); err != nil {
		return nil, config.Errorf(cfg.Pos, "identity_tokens: %w", err)
	}
	return s, nil
}

// parsePrivate reads a private key. Its errors have nothing of it.
func parsePrivate(raw []byte) (jwt.SigningMethod, crypto.Signer, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, nil, errors.New("expected PEM with a PRIVATE KEY (PKCS #8)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, errors.New("the private key cannot be read")
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return jwt.SigningMethodES256, key, nil
		}
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA, key, nil
	}
	return nil, nil, errors.New("expected a key of P-256 or Ed25519")
}

// publish returns a JSON Web Key Set of public keys, and the kid of the first.
func publish(list []crypto.PublicKey) (set []byte, first string, err error) {
	var doc struct {
		Keys []jwkset.JWKMarshal `json:"keys"`
	}
	for _, public := range list {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return nil, "", err
		}
		sum := sha256.Sum256(der)
		kid := base64.RawURLEncoding.EncodeToString(sum[:16])
		if first == "" {
			first = kid
		}
		jwk, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}})
		if err != nil {
			return nil, "", err
		}
		doc.Keys = append(doc.Keys, jwk.Marshal())
	}
	set, err = json.Marshal(doc)
	return set, first, err
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517); an empty set for a nil signer.
func (s *Signer) JWKS() []byte {
	if s == nil {
		return []byte(`{"keys":[]}`)
	}
	return s.jwks
}

// sign makes a token for one audience, and says when the next should be made. It does not outlive the caller's credential.
func (s *Signer) sign(id *Identity, audience string, names []string, now time.Time) (token string, renew time.Time, err error) {
	ends := now.Add(s.lifetime)
	if !id.Expires.IsZero() && id.Expires.Before(ends) {
		ends = id.Expires
	}
	claims := jwt.MapClaims{
		"iss": s.issuer, "aud": audience, "sub": id.User, "provider": id.Provider, "iat": now.Unix(), "exp": ends.Unix(),
	}
	if id.KeyID != "" {
		claims["key_id"] = id.KeyID
	}
	if len(id.Roles) > 0 {
		claims["roles"] = id.Roles
	}
	if len(id.Scopes) > 0 {
		claims["scope"] = strings.Join(id.Scopes, " ")
	}
	for _, name := range names {
		if value, ok := id.Claim(name); ok {
			claims[name] = value
		}
	}
	t := jwt.NewWithClaims(s.method, claims)
	t.Header["kid"] = s.kid
	if token, err = t.SignedString(s.key); err != nil {
		return "", time.Time{}, fmt.Errorf("sign: %w", err)
	}
	return token, now.Add(ends.Sub(now) * 3 / 4), nil
}
