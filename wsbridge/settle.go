package wsbridge

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// rush is how many new sessions leave enough behind to be worth a collection: a handshake allocates three times what its
	// session keeps, and its goroutine's stack grows to four times what the session needs.
	rush = 1000
	// rushPause is how long no session may have come before.
	rushPause = 400 * time.Millisecond
)

// settler gives memory back after a rush of new sessions, such as a restart of a neighbour brings. Otherwise it would
// stay until the next collection, which may be far away where nothing else allocates.
type settler struct {
	fresh atomic.Int64 // sessions since the last time
}

// opened counts a session, and reports whether settle is to be started.
func (s *settler) opened() bool { return s.fresh.Add(1) == rush }

// settle waits for the end of the rush, or until closed is.
func (s *settler) settle(closed <-chan struct{}) {
	pause := time.NewTicker(rushPause)
	defer pause.Stop()
	for seen := s.fresh.Load(); ; {
		select {
		case <-closed:
			return
		case <-pause.C:
		}
		now := s.fresh.Load()
		if now == seen {
			break
		}
		seen = now
	}
	s.fresh.Store(0)
	debug.FreeOSMemory()
}
