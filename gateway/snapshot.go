package gateway

import (
	"sync/atomic"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/mirror"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
	"github.com/crossgate/crossgate/upstream"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// Snapshot is everything that requests are served from at one time: routes, policies, compiled methods and pools. It is
// immutable, and replaced as a whole.
type Snapshot struct {
	config    *config.Config
	set       *descriptors.Set
	codecs    map[int]*codec.Wire // by depth; they have compiled the set's message types
	upstreams *upstream.Set
	releases  *release.Set
	auth      *auth.Providers
	signer    *auth.Signer
	table     *routing.Table[*admission.Route]
	admitter  *admission.Admitter
	bindings  []Binding
	described []*described // the gRPC routes, for documentation
	warnings  []string
	installed time.Time
	names     map[string]bool // of routes
	caches    bool            // one of them keeps answers
	bridged   []*wsbridge.Route
	mirrors   map[string]*mirror.Mirror // by route

	security *securityHeaders // of answers without a route
	// loginCookies are the names of sessions' cookies, which backends of no route get; nil without logins.
	loginCookies []string

	users [stripes]stripe
}

// stripes spread the count of a snapshot's requests, so that two requests seldom write to the same cache line.
const stripes = 16

type stripe struct {
	n atomic.Int64
	_ [56]byte
}

// Binding is one way into the gateway, for listings.
type Binding struct {
	Route    string
	Source   string   // where the configuration has the route: file:line:column
	Kind     string   // rest, rpc, grpc, websocket, respond, docs or client
	Method   string   // "*" for any
	Hosts    []string // none for any
	Path     string
	Target   string // /package.Service/Method, websocket:{service}, respond:{status}, docs:openapi, docs:page or client
	Upstream string
}

// acquire returns the snapshot in force and counts a request on it, until release. Between taking the pointer and
// counting, the snapshot may have been replaced, and closed: it is in force still when the pointer is the same after.
func (g *Gateway) acquire(stripe uint32) *Snapshot {
	for {
		s := g.snapshot.Load()
		s.users[stripe].n.Add(1)
		if g.snapshot.Load() == s {
			return s
		}
		s.users[stripe].n.Add(-1)
	}
}

func (s *Snapshot) release(stripe uint32) { s.users[stripe].n.Add(-1) }

// idle reports whether no request is served from the snapshot, nor a copy of one on its way. It counts only once the snapshot
// is replaced.
func (s *Snapshot) idle() bool {
	for _, m := range s.mirrors {
		if !m.Idle() {
			return false
		}
	}
	for i := range s.users {
		if s.users[i].n.Load() != 0 {
			return false
		}
	}
	return true
}

func (s *Snapshot) close() {
	for _, m := range s.mirrors {
		m.Close()
	}
	s.upstreams.Close()
	s.auth.Close()
}

// retireCheck is how often a replaced snapshot is asked whether its last request has ended.
const retireCheck = 50 * time.Millisecond

// retire closes a replaced snapshot when its last request has ended, or when the gateway closes.
func (g *Gateway) retire(s *Snapshot) {
	g.background.Go(func() {
		tick := time.NewTicker(retireCheck)
		defer tick.Stop()
		for !s.idle() {
			select {
			case <-tick.C:
			case <-g.closed:
				s.close()
				return
			}
		}
		s.close()
	})
}

// history returns how much is kept of a channel: what the first route says that keeps any.
func (s *Snapshot) history(channel string) bus.History {
	for _, r := range s.bridged {
		if h := r.History(channel); h.Size > 0 {
			return h
		}
	}
	return bus.History{}
}
