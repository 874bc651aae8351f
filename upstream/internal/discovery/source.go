package discovery

import (
	"cmp"
	"context"
	"slices"
)

// Endpoint is one backend.
type Endpoint struct {
	Address string // host:port
	Weight  int    // relative to the others'
	Zone    string // empty for none
}

// Source is where endpoints are learnt.
type Source interface {
	// Run tells of endpoints until ctx ends. It returns when nothing of it runs.
	Run(ctx context.Context, to *Listener)
}

// Listener is who is told of endpoints. Its functions are called by one goroutine.
type Listener struct {
	// Found gets each list that differs from the last one. It is never empty.
	Found func([]Endpoint)
	// Failed gets what keeps the source from learning, once while it is the same, and nil once it does again.
	Failed func(error)

	last    []Endpoint
	problem string
}

// learn hands on what has been learnt, if there is news in it: a list, and why it may not be all, nil where it is.
func (l *Listener) learn(list []Endpoint, problem error) {
	if len(list) == 0 && problem == nil {
		problem = errNone
	}
	l.report(problem)
	slices.SortFunc(list, func(a, b Endpoint) int { return cmp.Compare(a.Address, b.Address) })
	list = slices.CompactFunc(list, func(a, b Endpoint) bool { return a.Address == b.Address })
	if len(list) > 0 && !slices.Equal(list, l.last) {
		l.last = list
		l.Found(slices.Clone(list))
	}
}

func (l *Listener) report(problem error) {
	text := ""
	if problem != nil {
		text = problem.Error()
	}
	if text != l.problem {
		l.problem = text
		l.Failed(problem)
	}
}
