package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/crossgate/crossgate/config"
)

// keyVerifier knows API keys by their SHA-256: what a lookup's timing tells of a digest says nothing of the key.
type keyVerifier struct {
	keys map[[sha256.Size]byte]*Identity
}

func newKeyVerifier(provider string, cfg *config.APIKeys) (*keyVerifier, error) {
	v := &keyVerifier{keys: map[[sha256.Size]byte]*Identity{}}
	for i := range cfg.Keys {
		k := &cfg.Keys[i]
		digest := sha256.Sum256([]byte(k.Key.Reveal()))
		if k.SHA256 != "" {
			raw, err := hex.DecodeString(k.SHA256)
			if err != nil || len(raw) != sha256.Size {
				return nil, config.Errorf(k.Pos, "api key %s: sha256 is not 64 hexadecimal digits", k.ID)
			}
			digest = [sha256.Size]byte(raw)
		}
		if other := v.keys[digest]; other != nil {
			return nil, config.Errorf(k.Pos, "api key %s is the same as %s", k.ID, other.KeyID)
		}
		user := k.User
		if user == "" {
			user = k.ID
		}
		v.keys[digest] = &Identity{Provider: provider, User: user, KeyID: k.ID, Roles: k.Roles, Scopes: k.Scopes}
	}
	return v, nil
}

func (v *keyVerifier) verify(_ context.Context, credential string) (*Identity, error) {
	if id := v.keys[digestOf(credential)]; id != nil {
		return id, nil
	}
	return nil, fmt.Errorf("the API key is not known")
}

func (v *keyVerifier) close() {}
