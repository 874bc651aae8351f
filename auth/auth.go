package auth

import "time"

// Identity is who a caller is. It is immutable.
type Identity struct {
	// Provider is the name of the auth provider that vouches for it.
	Provider string
	// User is the subject: the user claim of a token, the user of an API key. Empty for anonymous.
	User string
	// KeyID is the id of the API key used, empty for tokens.
	KeyID string
	// Roles and Scopes are what the identity was granted.
	Roles  []string
	Scopes []string
	// Claims are all claims of the token, decoded from JSON; nil for API keys.
	Claims map[string]any
	// Expires is when the credential ends; zero for never.
	Expires time.Time

	values  *identityValues // as expressions have them; nil until it is sealed
	refusal error           // what is remembered of a credential that is nobody's
}

// Anonymous is the identity of a caller without a credential where a route lets such callers in.
var Anonymous = new(Identity).seal()

// Authenticated reports whether id is more than anonymous.
func (id *Identity) Authenticated() bool { return id != nil && id.Provider != "" }

// Claim finds a claim of the token by its name, or by a dotted path into nested claims where no claim has that name.
func (id *Identity) Claim(path string) (any, bool) { return claim(id.Claims, path) }

// HasClaim reports whether the token has a claim, as [Identity.Claim] finds it, that is one of values, or a list with one of
// them; nil values stand for any.
func (id *Identity) HasClaim(path string, values []string) bool {
	value, ok := id.Claim(path)
	return ok && value != nil && (values == nil || oneOf(value, values))
}

// Carrier is where a caller's credentials are, whatever the protocol. Each method returns "" where there is none.
type Carrier interface {
	Header(name string) string
	Cookie(name string) string
	// Query and Subprotocol answer for WebSocket upgrades only, Query also for the requests that stand in for them. Subprotocol returns what follows prefix in the
	// first subprotocol that begins with it.
	Query(name string) string
	Subprotocol(prefix string) string
	// Certificate is the certificate, in DER, with which the client has proved at the listener who it is.
	Certificate() string
}

// Error is a refusal. Its text is safe to show to the caller.
type Error struct {
	// Denied tells an identity that may not (403) from a credential that is missing or wrong (401).
	Denied bool
	// Unavailable says that what the answer depends on cannot be reached (503): nothing is known of the caller.
	Unavailable bool
	// Reason is for the caller: "token has expired".
	Reason string
	// Challenge is the WWW-Authenticate value of a 401 (RFC 6750 section 3), empty when Denied or Unavailable.
	Challenge string
	// Answer is how an authorisation service has worded it, nil for the gateway's own words.
	Answer *Denied
}

func (e *Error) Error() string { return e.Reason }
