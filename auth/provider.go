package auth

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
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
	kind     Kind
	login    *Login // nil for none
}

// Kind is what a provider's credentials are.
type Kind uint8

// The kinds.
const (
	SignedToken Kind = iota
	OpaqueToken
	APIKey
	Password
	Certificate
	Session
)

// verifier turns a credential into an identity. Its error says why not, and is safe to show.
type verifier interface {
	// recall returns the identity of a credential that is known without looking at it again, nil for none.
	recall(d digest) *Identity
	verify(ctx context.Context, d digest, credential string) (*Identity, error)
	close()
}

// Options are what providers are compiled with. The zero value is enough for those that need nobody.
type Options struct {
	// Previous are the providers in force, nil for none: what those have fetched is carried over for providers that have
	// not changed.
	Previous *Providers
	// Logger hears what goes wrong in the background; nil for nobody.
	Logger *slog.Logger
	// Telemetry counts who gave no answer; nil for nobody.
	Telemetry *telemetry.Telemetry
	// Redis has API keys, below Prefix; nil for none, as where a configuration is only checked.
	Redis  redis.UniversalClient
	Prefix string
	// Revoke makes known that a session has ended before its time; nil for nobody.
	Revoke func(Revocation)
}

// Compile makes the providers of a configuration. Key files are read here; what cannot be reached yet is no error.
// Errors are config.Errors.
func Compile(cfg []config.AuthProvider, o Options) (*Providers, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Providers{byName: map[string]*provider{}}
	var errs config.Errors
	for i := range cfg {
		one, err := compileProvider(&cfg[i], &o)
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

func compileProvider(cfg *config.AuthProvider, o *Options) (*provider, error) {
	prev := o.Previous.find(cfg.Name)
	p := &provider{name: cfg.Name, from: cfg.From, config: *cfg}
	var err error
	from := config.CredentialSource{Header: "Authorization"}
	switch {
	case cfg.JWT != nil:
		p.verifier, err = newJWTVerifier(cfg.Name, cfg.JWT, prev, o)
	case cfg.Introspection != nil:
		p.kind = OpaqueToken
		if prev != nil && config.Same(prev.config.Introspection, cfg.Introspection) {
			p.verifier = again(prev.verifier.(*introspector))
		} else {
			p.verifier = newIntrospector(cfg.Name, cfg.Introspection, o)
		}
	case cfg.APIKeys != nil:
		p.kind, from = APIKey, config.CredentialSource{Header: "X-API-Key"}
		if prev != nil && config.Same(prev.config.APIKeys, cfg.APIKeys) {
			p.verifier = again(prev.verifier.(*keyVerifier))
		} else {
			p.verifier, err = newKeyVerifier(cfg.Name, cfg.APIKeys, o)
		}
	case cfg.Basic != nil:
		p.kind, from.Scheme = Password, "Basic"
		if prev != nil && config.Same(prev.config.Basic, cfg.Basic) {
			p.verifier = again(prev.verifier.(*passwords))
		} else {
			p.verifier, err = newPasswords(cfg.Name, cfg.Basic, o)
		}
	case cfg.Login != nil:
		p.kind = Session
		var s *sessions
		if prev != nil && config.Same(prev.config.Login, cfg.Login) {
			s = again(prev.verifier.(*sessions))
		} else if s, err = newSessions(cfg.Name, cfg.Login, o); err != nil {
			return nil, err
		}
		p.verifier, p.login = s, newLogin(cfg.Login, s)
		from = config.CredentialSource{Cookie: p.login.cookie}
	case cfg.ClientCertificate != nil:
		p.kind = Certificate
		p.verifier = newCertificates(cfg.Name, cfg.ClientCertificate)
		return p, nil
	}
	if len(p.from) == 0 {
		p.from = []config.CredentialSource{from}
	}
	return p, err
}

func (p *Providers) find(name string) *provider {
	if p == nil {
		return nil
	}
	return p.byName[name]
}

// SessionCookies returns the names that the cookies of logins begin with: no backend is to have them.
func (p *Providers) SessionCookies() []string {
	var names []string
	for _, one := range p.list {
		if one.login != nil {
			names = append(names, one.login.cookie)
		}
	}
	return names
}

// Login returns the login of a provider; nil where it has none.
func (p *Providers) Login(name string) *Login {
	if one := p.find(name); one != nil {
		return one.login
	}
	return nil
}

// CredentialHeaders returns the names of the headers that credentials come in, in lower case: those of HTTP itself, and those
// that the providers read.
func (p *Providers) CredentialHeaders() []string {
	names := []string{"authorization", "proxy-authorization", "cookie"}
	for _, one := range p.list {
		for _, from := range one.from {
			if from.Header != "" {
				names = append(names, strings.ToLower(from.Header))
			}
		}
	}
	return names
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
