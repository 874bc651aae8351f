package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/crossgate/crossgate/config"
)

// keyring signs and encrypts what is given away to be brought back: with its first key, and reads what any of its keys has
// made. It is immutable.
type keyring []ringKey

type ringKey struct {
	signing []byte
	sealing cipher.AEAD // AES-256-GCM with random nonces
}

// newKeyring derives the keys of one owner: what it has signed is nothing to another that has the same secrets.
func newKeyring(owner string, secrets []config.Secret) (keyring, error) {
	var ring keyring
	for _, secret := range secrets {
		signing, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "crossgate login: signing "+owner, sha256.Size)
		if err != nil {
			return nil, err
		}
		sealing, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "crossgate login: sealing "+owner, 32)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(sealing)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		ring = append(ring, ringKey{signing, aead})
	}
	return ring, nil
}

func (k *ringKey) mac(id string) []byte {
	h := hmac.New(sha256.New, k.signing)
	h.Write([]byte(id))
	return h.Sum(nil)
}

// sign returns id with a dot and its signature; id has no dot.
func (r keyring) sign(id string) string {
	return id + "." + base64.RawURLEncoding.EncodeToString(r[0].mac(id))
}

// verify returns what was signed.
func (r keyring) verify(signed string) (id string, ok bool) {
	id, text, ok := strings.Cut(signed, ".")
	signature, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil {
		return "", false
	}
	for i := range r {
		if hmac.Equal(signature, r[i].mac(id)) {
			return id, true
		}
	}
	return "", false
}

// seal encrypts and authenticates; what is sealed for one purpose cannot be opened for another.
func (r keyring) seal(purpose string, plain []byte) []byte {
	return r[0].sealing.Seal(nil, nil, plain, []byte(purpose))
}

// open returns what was sealed.
func (r keyring) open(purpose string, sealed []byte) ([]byte, bool) {
	for i := range r {
		if plain, err := r[i].sealing.Open(nil, nil, sealed, []byte(purpose)); err == nil {
			return plain, true
		}
	}
	return nil, false
}
