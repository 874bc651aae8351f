package auth

import (
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/crossgate/crossgate/config"
)

// maxForwarded bounds how many identities' headers are remembered for a route.
const maxForwarded = 4096

// Forwarder tells a route's backend who callers are, by headers that callers cannot forge. It is safe for concurrent use.
type Forwarder struct {
	names    []string // canonical; none of them passes as the caller sent it
	headers  []identityHeader
	token    string // the header with a token; "" for none
	audience string
	claims   []string
	signer   *Signer
	now      func() time.Time

	mu    sync.RWMutex
	known map[*Identity]forwarded
}

type identityHeader struct{ name, what string }

// forwarded is what is told of one identity, and until when.
type forwarded struct {
	changes *Changes
	until   time.Time // zero for always
}

// CompileForwarder compiles what a route tells its backend; nil stays nil. The signer may be nil where there is no token.
func CompileForwarder(cfg *config.ForwardIdentity, signer *Signer) (*Forwarder, error) {
	if cfg == nil {
		return nil, nil
	}
	f := &Forwarder{audience: cfg.Audience, claims: cfg.Claims, signer: signer, now: time.Now, known: map[*Identity]forwarded{}}
	for name, what := range cfg.Headers {
		f.headers = append(f.headers, identityHeader{textproto.CanonicalMIMEHeaderKey(name), what})
	}
	slices.SortFunc(f.headers, func(a, b identityHeader) int { return strings.Compare(a.name, b.name) })
	for _, h := range f.headers {
		f.names = append(f.names, h.name)
	}
	if cfg.TokenHeader != "" {
		if signer == nil {
			return nil, config.Errorf(cfg.Pos, "forward_identity: there is no key to sign with")
		}
		f.token = textproto.CanonicalMIMEHeaderKey(cfg.TokenHeader)
		f.names = append(f.names, f.token)
	}
	return f, nil
}

// Changes returns what becomes of the headers of a request of id's: the caller's own are taken away in any case.
func (f *Forwarder) Changes(id *Identity) (*Changes, error) {
	f.mu.RLock()
	known, ok := f.known[id]
	f.mu.RUnlock()
	if ok && (known.until.IsZero() || f.now().Before(known.until)) {
		return known.changes, nil
	}
	made, err := f.make(id)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= maxForwarded {
		clear(f.known)
	}
	f.known[id] = made
	return made.changes, nil
}

func (f *Forwarder) make(id *Identity) (forwarded, error) {
	made := forwarded{changes: &Changes{Remove: f.names}}
	if !id.Authenticated() {
		return made, nil
	}
	for _, h := range f.headers {
		if value := id.text(h.what); value != "" {
			made.changes.Request = append(made.changes.Request, HeaderChange{Name: h.name, Value: value, How: Append})
		}
	}
	if f.token != "" {
		now := f.now()
		token, renew, err := f.signer.sign(id, f.audience, f.claims, now)
		if err != nil {
			return made, fmt.Errorf("the caller's identity cannot be signed: %w", err)
		}
		made.until = renew
		made.changes.Request = append(made.changes.Request, HeaderChange{Name: f.token, Value: token, How: Append})
	}
	return made, nil
}

// text returns what a header says of the identity; "" for nothing.
func (id *Identity) text(what string) string {
	switch what {
	case "user":
		return escaped(id.User)
	case "provider":
		return escaped(id.Provider)
	case "key_id":
		return escaped(id.KeyID)
	case "roles":
		return joined(id.Roles)
	case "scopes":
		return joined(id.Scopes)
	}
	value, _ := id.Claim(strings.TrimPrefix(what, "claim:"))
	if list, ok := value.([]any); ok {
		var words []string
		for _, one := range list {
			if s, ok := scalar(one); ok {
				words = append(words, s)
			}
		}
		return joined(words)
	}
	s, _ := scalar(value)
	return escaped(s)
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

func joined(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strings.ReplaceAll(escaped(w), ",", "%2C")
	}
	return strings.Join(list, ",")
}

// escaped percent-encodes what no header can have, and the percent sign (RFC 3986 section 2.1): an identity's text may be
// anything that its issuer has put in it.
func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' || (c == ' ' && (i == 0 || i == len(s)-1)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
