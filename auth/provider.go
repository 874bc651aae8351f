package auth

import (
	"context"
	"fmt"

	"github.com/crossgate/crossgate/config"
)

// Providers are the auth providers of one configuration, by name. Safe for concurrent use.
type Providers struct {
	list   []*provider
	byName map[string]*provider
}

// provider is one way to authenticate: where to look, and who verifies.
type provider struct {
	name     string
	from     []config.CredentialSource
	config   config.AuthProvider
	verifier verifier
	apiKeys  bool
	asks     bool // somebody else about each credential
}

// verifier turns a credential into an identity. Its error says why not, and is safe to show.
type verifier interface {
	// recall returns the identity of a credential that is known without looking at it again, nil for none.
	recall(d digest) *Identity
	verify(ctx context.Context, d digest, credential string) (*Identity, error)
	close()
}

// Compile makes the providers of a configuration. Key sets that prev, which may be nil, has fetched for an unchanged
// provider are carried over. Key files are read here; a key set that cannot be fetched yet is no error. Errors are
// config.Errors.
func Compile(cfg []config.AuthProvider, prev *Providers) (*Providers, error) {
	p := &Providers{byName: map[string]*provider{}}
	var errs config.Errors
	for i := range cfg {
		one, err := compileProvider(&cfg[i], prev.find(cfg[i].Name))
		if err != nil {
			errs.Add(cfg[i].Pos, fmt.Errorf("auth %s: %w", cfg[i].Name, err))
			continue
		}
		p.list = append(p.list, one)
		p.byName[one.name] = one
	}
	if err := errs.Err(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func compileProvider(cfg *config.AuthProvider, prev *provider) (*provider, error) {
	p := &provider{name: cfg.Name, from: cfg.From, config: *cfg, apiKeys: cfg.APIKeys != nil}
	var err error
	switch {
	case cfg.JWT != nil:
		if len(p.from) == 0 {
			p.from = []config.CredentialSource{{Header: "Authorization"}}
		}
		p.verifier, err = newJWTVerifier(cfg.Name, cfg.JWT, prev)
	case cfg.Introspection != nil:
		if len(p.from) == 0 {
			p.from = []config.CredentialSource{{Header: "Authorization"}}
		}
		p.asks = true
		if prev != nil && config.Same(prev.config.Introspection, cfg.Introspection) {
			same := prev.verifier.(*introspector)
			same.hold()
			p.verifier = same
		} else {
			p.verifier = newIntrospector(cfg.Name, cfg.Introspection)
		}
	case cfg.APIKeys != nil:
		if len(p.from) == 0 {
			p.from = []config.CredentialSource{{Header: "X-API-Key"}}
		}
		p.verifier, err = newKeyVerifier(cfg.Name, cfg.APIKeys)
	}
	return p, err
}

func (p *Providers) find(name string) *provider {
	if p == nil {
		return nil
	}
	return p.byName[name]
}

// Close stops what these providers do in the background, but for what a newer Providers has carried over.
func (p *Providers) Close() {
	if p == nil {
		return
	}
	for _, one := range p.list {
		one.verifier.close()
	}
}
