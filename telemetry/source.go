package telemetry

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SourceKind is what is asked of somebody outside the process, besides what requests are for.
type SourceKind string

// The kinds.
const (
	KeySets       SourceKind = "jwks"          // the keys of an auth provider, and where they are
	Introspection SourceKind = "introspection" // what an opaque token stands for
	OpenID        SourceKind = "openid"        // a provider that browsers log in at
	Discovery     SourceKind = "endpoints"     // the endpoints of an upstream
	Certificates  SourceKind = "acme"          // a listener's certificates
)

// Source counts how often a source had no answer, and logs it. A nil one does neither. Safe for concurrent use.
type Source struct {
	t    *Telemetry
	key  sourceKey
	fail prometheus.Counter

	mu     sync.Mutex
	logged time.Time
	silent int // failures since
}

type sourceKey struct {
	kind SourceKind
	name string
}

// sourceLogInterval is how often failures of one source are logged: callers may be many, and all of them fail.
const sourceLogInterval = time.Minute

// Source returns what counts the failures of a source, until [Source.Close]. Names come from configuration, never from
// clients. A nil Telemetry has none.
func (t *Telemetry) Source(kind SourceKind, name string) *Source {
	if t == nil {
		return nil
	}
	key := sourceKey{kind, name}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sourceHolders[key]++
	return &Source{t: t, key: key, fail: t.sources.WithLabelValues(string(kind), name)}
}

// Failed counts a failure, and logs it unless one was logged within the minute. err must be safe to log.
func (s *Source) Failed(err error) {
	if s == nil {
		return
	}
	s.fail.Inc()
	s.mu.Lock()
	silent := s.silent
	if now := time.Now(); now.Sub(s.logged) >= sourceLogInterval {
		s.logged, s.silent = now, 0
	} else {
		s.silent++
		silent = -1
	}
	s.mu.Unlock()
	if silent >= 0 {
		s.t.Logger.Warn("a source gave no answer", slog.String("kind", string(s.key.kind)), slog.String("name", s.key.name), slog.Any("error", err), slog.Int("not_logged", silent))
	}
}

// Close drops the series when nobody else has the source's.
func (s *Source) Close() {
	if s == nil {
		return
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.t.sourceHolders[s.key]--; s.t.sourceHolders[s.key] > 0 {
		return
	}
	delete(s.t.sourceHolders, s.key)
	s.t.sources.DeleteLabelValues(string(s.key.kind), s.key.name)
}
