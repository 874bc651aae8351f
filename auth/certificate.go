package auth

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"time"

	"github.com/crossgate/crossgate/config"
)

// certificates makes identities of certificates that a listener has verified: what a Carrier has is believed. It must never
// be handed a credential that came otherwise, for certificates are no secrets.
type certificates struct {
	provider string
	config   *config.ClientCertificate
	granted  map[string]*config.BasicUser
	known    *tokenCache
}

var (
	errNoCertificate    = &notMine{"the client's certificate cannot be read"}
	errCertificateEnded = &notMine{"the client's certificate has expired"}
	errNoUser           = &notMine{"the client's certificate names no user"}
)

func newCertificates(provider string, cfg *config.ClientCertificate) *certificates {
	v := &certificates{provider: provider, config: cfg, granted: map[string]*config.BasicUser{}, known: newTokenCache(cacheTime)}
	for i := range cfg.Users {
		v.granted[cfg.Users[i].Name] = &cfg.Users[i]
	}
	return v
}

func (v *certificates) close() {}

func (v *certificates) recall(d digest) *Identity { return v.known.get(d, 0, time.Now()) }

func (v *certificates) verify(_ context.Context, d digest, der string) (*Identity, error) {
	c, err := x509.ParseCertificate([]byte(der))
	if err != nil {
		return nil, errNoCertificate
	}
	if !time.Now().Before(c.NotAfter) {
		return nil, errCertificateEnded // since the connection was opened
	}
	id := &Identity{Provider: v.provider, User: v.user(c), Roles: v.config.Roles, Scopes: v.config.Scopes, Claims: claimsOf(c), Expires: c.NotAfter}
	if id.User == "" {
		return nil, errNoUser
	}
	if u := v.granted[id.User]; u != nil {
		id.Roles, id.Scopes = u.Roles, u.Scopes
	}
	id.seal()
	v.known.put(d, 0, id, time.Now())
	return id, nil
}

// user returns whom the certificate is for: the first name of the kind that the provider takes users from.
func (v *certificates) user(c *x509.Certificate) string {
	names := []string{c.Subject.CommonName}
	switch v.config.User {
	case "uri":
		names = uris(c)
	case "dns":
		names = c.DNSNames
	case "email":
		names = c.EmailAddresses
	}
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func uris(c *x509.Certificate) []string {
	list := make([]string, len(c.URIs))
	for i, u := range c.URIs {
		list[i] = u.String()
	}
	return list
}

// claimsOf are what a certificate says of its holder, in place of a token's claims.
func claimsOf(c *x509.Certificate) map[string]any {
	return map[string]any{
		"subject": c.Subject.String(), "issuer": c.Issuer.String(), "serial": hex.EncodeToString(c.SerialNumber.Bytes()),
		"common_name": c.Subject.CommonName, "organization": list(c.Subject.Organization), "organizational_unit": list(c.Subject.OrganizationalUnit),
		"uri": list(uris(c)), "dns": list(c.DNSNames), "email": list(c.EmailAddresses),
	}
}

// list is a list as JSON has it.
func list(words []string) []any {
	l := make([]any, len(words))
	for i, w := range words {
		l[i] = w
	}
	return l
}
