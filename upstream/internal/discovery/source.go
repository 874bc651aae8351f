package discovery

import "context"

// Endpoint is one backend.
type Endpoint struct {
	Address string // host:port
	Weight  int    // relative to the others'
	Zone    string // empty for none
}

// Source is where endpoints are learnt.
type Source interface {
	// Run calls found with each list of endpoints that differs from the last one, never an empty one, and problem with what
	// keeps it from learning them, nil once it does again, until ctx ends. It returns when nothing of it runs.
	Run(ctx context.Context, found func([]Endpoint), problem func(error))
}
