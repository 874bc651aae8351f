package gateway

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// freshTime is how long a connection on which nothing was asked may still ask when its listener shuts down.
const freshTime = 500 * time.Millisecond

// fresh are the connections on which nothing was asked yet, such as those that browsers open ahead. http.Server.Shutdown
// waits five seconds for them.
type fresh struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// follow is the server's ConnState.
func (f *fresh) follow(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state != http.StateNew {
		delete(f.conns, c)
		return
	}
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	f.conns[c] = struct{}{}
}

// hurry ends those that do not ask soon.
func (f *fresh) hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.SetReadDeadline(time.Now().Add(freshTime)) // fails where the connection is gone
	}
}
