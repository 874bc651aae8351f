package upstream

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// replay is a request body that several tries read from its beginning, as long as not more of it was read than is kept. A
// read of an earlier try that still waits for the caller takes nothing away: what it gets is kept like any.
type replay struct {
	source io.ReadCloser
	most   int // bytes kept

	reading sync.Mutex // held while source is read, which may wait for the caller

	mu   sync.Mutex
	kept []byte
	read int // bytes of source
	err  error

	settled atomic.Bool // no further try will come
}

var errBeyondBuffer = errors.New("upstream: more of the request body was sent than is kept for another try")

// again returns the body for another try, nil when too much of it is gone.
func (r *replay) again() io.ReadCloser {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read > len(r.kept) {
		return nil
	}
	return &replayReader{replay: r}
}

// whole reports whether all of the body has come and is kept; so it is of none.
func (r *replay) whole() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read == len(r.kept) && errors.Is(r.err, io.EOF)
}

// settle says that the try under way is the last: from now on closing its body closes the caller's.
func (r *replay) settle() {
	if r != nil {
		r.settled.Store(true)
	}
}

// replayReader is the body of one try.
type replayReader struct {
	replay *replay
	at     int
	closed atomic.Bool
}

func (b *replayReader) Read(p []byte) (int, error) {
	r := b.replay
	if n, known, err := b.known(p); known {
		return n, err
	}
	r.reading.Lock()
	defer r.reading.Unlock()
	if n, known, err := b.known(p); known { // another try's read has brought it
		return n, err
	}
	n, err := r.source.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read == len(r.kept) && r.read+n <= r.most {
		r.kept = append(r.kept, p[:n]...)
	}
	r.read += n
	b.at += n
	r.err = err
	return n, err
}

// known reads what need not be waited for.
func (b *replayReader) known(p []byte) (n int, known bool, err error) {
	r := b.replay
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case b.closed.Load():
		return 0, true, http.ErrBodyReadAfterClose
	case b.at < len(r.kept):
		n = copy(p, r.kept[b.at:])
		b.at += n
		return n, true, nil
	case b.at < r.read:
		return 0, true, errBeyondBuffer
	}
	return 0, r.err != nil, r.err
}

// Close does not wait for a read. Before the last try it leaves the caller's body open for the next.
func (b *replayReader) Close() error {
	b.closed.Store(true)
	if b.replay.settled.Load() {
		return b.replay.source.Close()
	}
	return nil
}
