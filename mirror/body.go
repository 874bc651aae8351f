package mirror

import (
	"io"
	"sync"
)

// passing is a request's body on its way to the backend that answers, which leaves a copy behind.
type passing struct {
	source io.ReadCloser
	length int64 // of all of it, -1 where it is not known

	mu     sync.Mutex
	copied *copied // nil once it is sent or given up
}

func (b *passing) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	b.keep(p[:n])
	switch {
	case err == io.EOF:
		b.end(answered)
	case err != nil:
		b.end(incomplete)
	}
	return n, err
}

// keep copies a piece.
func (b *passing) keep(piece []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.copied
	if c == nil {
		return
	}
	if len(c.body)+len(piece) > c.mirror.most {
		b.copied = nil
		c.mirror.giveUp(tooLarge)
		return
	}
	c.body = append(c.body, piece...)
}

// end sends the copy when the body has come to its end, or gives it up.
func (b *passing) end(how result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.copied
	if c == nil {
		return
	}
	b.copied = nil
	if how == answered || b.length >= 0 && int64(len(c.body)) == b.length {
		c.mirror.add(c.send)
		return
	}
	c.mirror.giveUp(how)
}

// Close may come while a read waits for the caller.
func (b *passing) Close() error {
	b.end(incomplete)
	return b.source.Close()
}
