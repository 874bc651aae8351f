//go:build unix

package wsbridge

import (
	"errors"
	"sync"
	"syscall"
)

// socket is a plain connection below the runtime's own reads and writes: it writes what the kernel takes at once, and
// waits for input holding neither a buffer nor more than a few frames of a stack, as most connections do most of the time.
type socket struct {
	raw syscall.RawConn

	write func(fd uintptr) bool
	out   []byte
	wrote int

	read func(fd uintptr) bool
	in   *[]byte // nil while nothing is there
	n    int
}

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readAhead); return &b }}

// newSocket returns nil for a connection that is no plain one, such as one of TLS.
func newSocket(conn any) *socket {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw}
	s.write = func(fd uintptr) bool {
		if n, err := syscall.Write(int(fd), s.out); err == nil {
			s.wrote = n
		}
		return true // whatever came of it: the runtime is not to wait for room
	}
	s.read = func(fd uintptr) bool {
		s.in = readBuffers.Get().(*[]byte)
		n, err := syscall.Read(int(fd), *s.in)
		if n > 0 {
			s.n = n
			return true
		}
		readBuffers.Put(s.in)
		s.in = nil
		return !errors.Is(err, syscall.EAGAIN)
	}
	return s
}

// tryWrite returns how many bytes were written: none also after an error, which an ordinary write will meet again.
func (s *socket) tryWrite(b []byte) int {
	s.out, s.wrote = b, 0
	_ = s.raw.Write(s.write)
	s.out = nil
	return s.wrote
}

// await waits for input and returns it. It returns none at the end, or after an error, which an ordinary read will meet
// again. What it returns is valid until release.
func (s *socket) await() []byte {
	s.n = 0
	_ = s.raw.Read(s.read)
	if s.n == 0 {
		return nil
	}
	return (*s.in)[:s.n]
}

// release gives back what await returned.
func (s *socket) release() {
	if s.in != nil {
		readBuffers.Put(s.in)
		s.in = nil
	}
}
