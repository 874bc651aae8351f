package wsbridge

import (
	"hash/maphash"
	"sync"
)

// hubShards is how many locks share the subscribers, so that a broadcast seldom meets a subscription.
const hubShards = 64

// hub knows which sessions of this node want what is published on which bus channel.
type hub struct {
	seed   maphash.Seed
	shards [hubShards]hubShard
}

type hubShard struct {
	mu       sync.RWMutex
	sessions map[string]map[*session]struct{} // by bus channel
}

func newHub() *hub {
	h := &hub{seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].sessions = map[string]map[*session]struct{}{}
	}
	return h
}

func (h *hub) shard(channel string) *hubShard {
	return &h.shards[maphash.String(h.seed, channel)%hubShards]
}

// add has the session get what is published from now on, after a first frame, if there is one.
func (h *hub) add(channel string, s *session, first []byte) {
	sh := h.shard(channel)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if first != nil {
		s.sendLater(first)
	}
	set := sh.sessions[channel]
	if set == nil {
		set = map[*session]struct{}{}
		sh.sessions[channel] = set
	}
	set[s] = struct{}{}
}

func (h *hub) remove(channel string, s *session) {
	sh := h.shard(channel)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	set := sh.sessions[channel]
	delete(set, s)
	if len(set) == 0 {
		delete(sh.sessions, channel)
	}
}

// few is up to how many sessions get a frame from whoever has it, one after the other. With more of them goroutines of
// their own are sooner done.
const few = 4

// each calls f for every session of a channel, and says whether they are few, under a lock that keeps the set from
// changing: f must not wait.
func (h *hub) each(channel string, f func(s *session, areFew bool)) {
	sh := h.shard(channel)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	areFew := len(sh.sessions[channel]) <= few
	for s := range sh.sessions[channel] {
		f(s, areFew)
	}
}
