package auth

import (
	"sync"
	"sync/atomic"
	"time"
)

// Revocation refuses credentials before their time: those of a user, or one token. Exactly one of User and TokenID is set.
type Revocation struct {
	// User is whose credentials are refused: tokens that were issued (iat) at Before or earlier, and credentials that do
	// not say when they were issued.
	User string
	// TokenID is the jti claim of the token that is refused (RFC 7519 section 4.1.7).
	TokenID string
	// Before is when the user's credentials were revoked.
	Before time.Time
	// Until is when the revocation ends: when the last credential that it refuses has expired by itself.
	Until time.Time
}

// Revocations are those in force. The zero value is ready to use; a nil one refuses nothing. Its methods are safe for
// concurrent use, and cost next to nothing while there are none.
type Revocations struct {
	some   atomic.Bool
	mu     sync.RWMutex
	users  map[string]Revocation
	tokens map[string]Revocation
}

// Refuses reports whether an identity's credential is revoked.
func (r *Revocations) Refuses(id *Identity) bool {
	if r == nil || !r.some.Load() || !id.Authenticated() {
		return false
	}
	jti, _ := id.Claims["jti"].(string)
	r.mu.RLock()
	user, byUser := r.users[id.User]
	token, byToken := r.tokens[jti]
	r.mu.RUnlock()
	now := time.Now()
	if byToken && jti != "" && now.Before(token.Until) {
		return true
	}
	if !byUser || id.User == "" || !now.Before(user.Until) {
		return false
	}
	issued, ok := id.Claims["iat"].(float64)
	// iat may be in whole seconds: of a token of the very second nobody knows whether it is the old one.
	return !ok || int64(issued) <= user.Before.Unix()
}

// Add puts a revocation in force.
func (r *Revocations) Add(one Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(one, time.Now())
}

// Merge puts what another node or an earlier process has revoked in force, and drops what is over.
func (r *Revocations) Merge(list []Revocation) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range []map[string]Revocation{r.users, r.tokens} {
		for name, one := range of {
			if !now.Before(one.Until) {
				delete(of, name)
			}
		}
	}
	for _, one := range list {
		r.add(one, now)
	}
	r.some.Store(len(r.users)+len(r.tokens) > 0)
}

func (r *Revocations) add(one Revocation, now time.Time) {
	if !now.Before(one.Until) {
		return
	}
	if r.users == nil {
		r.users, r.tokens = map[string]Revocation{}, map[string]Revocation{}
	}
	of, name := r.tokens, one.TokenID
	if name == "" {
		of, name = r.users, one.User
	}
	if old, ok := of[name]; ok {
		// Two of one user are in force together: the later of each is.
		if old.Before.After(one.Before) {
			one.Before = old.Before
		}
		if old.Until.After(one.Until) {
			one.Until = old.Until
		}
	}
	of[name] = one
	r.some.Store(true)
}
