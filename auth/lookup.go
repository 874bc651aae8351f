package auth

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// retryAfterFailure is how long callers whose credentials are known go on without waiting for somebody who gave no answer.
const retryAfterFailure = time.Second

// lookup asks somebody else about credentials, and remembers the answers. Callers with one credential share one question, which goes
// on when they have gone.
type lookup struct {
	lookupOptions
	active     *tokenCache
	inactive   *tokenCache
	generation atomic.Uint64 // what is remembered of an earlier one is forgotten
	failed     atomic.Int64  // when a question last had no answer, in Unix nanoseconds; 0 for never
	slots      chan struct{} // one for each question that may be open
	now        func() time.Time

	mu        sync.Mutex
	questions map[digest]*question
	closing   context.Context
	closeDown context.CancelFunc
	running   sync.WaitGroup
}

type lookupOptions struct {
	// find asks. cannotTell is its error where there is no answer; any other is a refusal.
	find       func(ctx context.Context, d digest, credential string) (*Identity, error)
	cannotTell *outage
	known      time.Duration // how long an identity is remembered
	refused    time.Duration // and a refusal
	stale      time.Duration // and an identity beyond that, while there are no answers
	timeout    time.Duration
	concurrent int
}

// question is one being asked. id and err are set before done is closed.
type question struct {
	done chan struct{}
	id   *Identity
	err  error
}

func (l *lookup) begin(o lookupOptions) {
	l.lookupOptions, l.now = o, time.Now
	l.active, l.inactive = newTokenCache(o.known), newTokenCache(o.refused)
	l.slots, l.questions = make(chan struct{}, o.concurrent), map[digest]*question{}
	l.closing, l.closeDown = context.WithCancel(context.Background())
}

func (l *lookup) recall(d digest) *Identity { return l.active.get(d, l.generation.Load(), l.now()) }

// forget drops all that is remembered, and the answers to what is being asked.
func (l *lookup) forget() { l.generation.Add(1) }

func (l *lookup) verify(ctx context.Context, d digest, credential string) (*Identity, error) {
	if known := l.inactive.get(d, l.generation.Load(), l.now()); known != nil {
		return nil, known.refusal
	}
	if failed := l.failed.Load(); failed != 0 && l.now().Sub(time.Unix(0, failed)) < retryAfterFailure {
		if id := l.old(d); id != nil {
			return id, nil
		}
	}
	q := l.ask(d, credential)
	select {
	case <-q.done:
	case <-ctx.Done():
		return nil, l.cannotTell
	}
	if q.err == l.cannotTell {
		if id := l.old(d); id != nil {
			return id, nil
		}
	}
	return q.id, q.err
}

// old returns what was known of a credential, which may do while nothing newer can be.
func (l *lookup) old(d digest) *Identity {
	now := l.now()
	id := l.active.get(d, l.generation.Load(), now.Add(-l.stale))
	if id == nil || !id.Expires.IsZero() && !now.Before(id.Expires) {
		return nil
	}
	return id
}

// ask returns the question about a credential, which may be open already.
func (l *lookup) ask(d digest, credential string) *question {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.questions[d]; q != nil {
		return q
	}
	q := &question{done: make(chan struct{})}
	if l.closing.Err() != nil {
		q.err = l.cannotTell
		close(q.done)
		return q
	}
	l.questions[d] = q
	generation := l.generation.Load()
	l.running.Go(func() {
		q.id, q.err = l.answer(d, credential)
		switch {
		case q.err == nil:
			l.active.put(d, generation, q.id, l.now())
		case q.err == l.cannotTell:
			l.failed.Store(l.now().UnixNano())
		default:
			l.inactive.put(d, generation, &Identity{refusal: q.err}, l.now())
		}
		l.mu.Lock()
		delete(l.questions, d)
		l.mu.Unlock()
		close(q.done)
	})
	return q
}

func (l *lookup) answer(d digest, credential string) (*Identity, error) {
	ctx, cancel := context.WithTimeout(l.closing, l.timeout)
	defer cancel()
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, l.cannotTell
	}
	return l.find(ctx, d, credential)
}

// close gives up what is being asked.
func (l *lookup) close() {
	l.mu.Lock()
	l.closeDown()
	l.mu.Unlock()
	l.running.Wait()
}
