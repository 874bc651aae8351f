package admission

import (
	"time"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/fault"
)

// Kind is why a request was refused.
type Kind uint8

// The kinds of refusal.
const (
	NoRoute Kind = iota + 1
	MethodNotAllowed
	Unauthenticated
	PermissionDenied
	LimitExceeded
	Unavailable // a dependency of the decision is down and the rule says deny
	BadRequest
	Overloaded          // the process is saturated
	BodyRefused         // the body cannot be shown to the authorisation service: Fault says why
	IdentityUnavailable // who the caller is, or what it may do, cannot be found out now
	CrossOrigin         // a page of another origin may have made the request, with the user's cookie
)

// Refusal is a typed no. Its text is safe to show to the caller.
type Refusal struct {
	Kind   Kind
	Reason string
	// Route is the route that refused, nil where none was found.
	Route *Route
	// Challenge is the WWW-Authenticate value of an Unauthenticated.
	Challenge string
	// Answer is how an authorisation service has worded the refusal; nil for the gateway's own words.
	Answer *auth.Denied
	// Fault is what a BodyRefused amounts to.
	Fault *fault.Error
	// Allow are the methods the path has, of a MethodNotAllowed.
	Allow []string
	// Limit is the decision that refused, of a LimitExceeded.
	Limit      Charge
	RetryAfter time.Duration
}

func (r *Refusal) Error() string { return r.Reason }
