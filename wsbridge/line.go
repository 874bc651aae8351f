package wsbridge

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// fillers is how many lines read their history at a time.
	fillers = 64
	// refill is the pause before history is read again after Redis did not answer.
	refill = 200 * time.Millisecond
	// heldBytes is how much of what is published waits, by line, while history is read. Beyond it, it is read again.
	heldBytes = 1 << 20
)

// line is a channel with history, as its subscribers on this node follow it: each message once, in the order of the offsets.
// What is published is handed on as it comes. Whenever something may be missing before it, because the bus was down or an
// offset was skipped, it waits until history has been read up to it.
type line struct {
	node *Node
	name string // the channel's, as clients know it
	ttl  time.Duration

	users int // guarded by lines.mu

	mu      sync.Mutex
	at      bus.Position // of the last message that was handed on; without an epoch until it is known
	reading bool         // history is being read; what is published is held
	again   bool         // it has to be read once more
	queued  bool         // a filler has the line, or will have
	held    []bus.Kept
	size    int           // of held, in bytes
	ready   chan struct{} // closed once history has been read
	members map[*session]*member
}

// member is a session that follows a line. One that joins reads history itself, up to where the line is, and what the line
// hands on meanwhile is held for it.
type member struct {
	after   uint64 // what it has already, by offset
	joining bool
	held    []heldFrame
	size    int
	overrun bool // too much was held, and dropped: history is to be read again
}

// heldFrame is a message, or a gap, that waits for a member.
type heldFrame struct {
	frame  []byte
	offset uint64
	gap    bool
}

// lines are the lines of a node.
type lines struct {
	mu    sync.RWMutex
	lines map[string]*line // by bus channel
	queue []*line          // that wait for a filler
	busy  int              // fillers that run
}

func (t *lines) of(channel string) *line {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.lines[channel]
}

// line returns the line of a channel for one more user, who gives it back with release.
func (n *Node) line(channel string, ttl time.Duration) *line {
	key := n.keys.Channel(channel)
	n.lines.mu.Lock()
	defer n.lines.mu.Unlock()
	l := n.lines.lines[key]
	if l == nil {
		l = &line{node: n, name: channel, ttl: ttl, ready: make(chan struct{}), reading: true, members: map[*session]*member{}}
		n.lines.lines[key] = l
	}
	l.users++
	return l
}

func (n *Node) release(l *line) {
	n.lines.mu.Lock()
	defer n.lines.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(n.lines.lines, n.keys.Channel(l.name))
	}
}

// begin has the history read, unless that is under way or done.
func (l *line) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.Epoch == "" && !l.queued {
		l.enqueue()
	}
}

// subscribed has the history read once more where the subscription stands for another time: what was published in between
// is missing.
func (l *line) subscribed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.Epoch == "" && !l.queued {
		l.enqueue()
	} else {
		l.fallBehind()
	}
}

// fallBehind has the history read, since something may be missing. What is published from now on waits. The caller holds
// the lock.
func (l *line) fallBehind() {
	if !l.reading {
		l.reading, l.ready = true, make(chan struct{})
	}
	l.again = true
	l.enqueue()
}

// enqueue gives the line to a filler. The caller holds the lock.
func (l *line) enqueue() {
	if l.queued {
		return
	}
	l.queued = true
	t := &l.node.lines
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, l)
	if t.busy < fillers {
		t.busy++
		l.node.spawnOpen(l.node.fill)
	}
}

// fill reads the history of lines until none waits.
func (n *Node) fill() {
	t := &n.lines
	for {
		t.mu.Lock()
		if len(t.queue) == 0 {
			t.queue = nil
			t.busy--
			t.mu.Unlock()
			return
		}
		l := t.queue[0]
		t.queue = t.queue[1:]
		t.mu.Unlock()
		if l.fill(n.ctx) {
			continue
		}
		select {
		case <-n.ctx.Done():
			continue
		case <-time.After(refill):
		}
		if n.lines.of(n.keys.Channel(l.name)) == l {
			t.mu.Lock()
			t.queue = append(t.queue, l) // behind those that other servers have
			t.mu.Unlock()
		}
	}
}

// fill reads history from where the line is, and hands it on. It reports false when Redis does not answer.
func (l *line) fill(ctx context.Context) bool {
	lost := false
	for {
		l.mu.Lock()
		since := l.at
		l.again = false
		l.mu.Unlock()
		page, err := l.node.bus.ReadHistory(ctx, l.node.keys, l.name, since, l.ttl)
		if err != nil {
			return false
		}
		l.mu.Lock()
		switch {
		case since.Epoch == "":
			l.at = page.Position
		case page.Epoch != since.Epoch:
			l.turn(page.Epoch)
			lost = true
			l.mu.Unlock()
			continue
		case lost || !page.Whole:
			lost = false
			l.skip(page.Start())
		}
		for i := range page.Messages {
			l.hand(&page.Messages[i])
		}
		if page.More || l.again {
			l.mu.Unlock()
			continue
		}
		l.reading, l.queued = false, false
		close(l.ready)
		held := l.held
		l.held, l.size = nil, 0
		for i := range held {
			l.take(&held[i])
		}
		l.mu.Unlock()
		return true
	}
}

// receive takes a message from the bus, whose bytes are the bus's.
func (l *line) receive(m *bus.Kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take(m)
}

// take hands a message on, or holds it. The caller holds the lock.
func (l *line) take(m *bus.Kept) {
	switch {
	case l.reading:
		l.hold(m)
	case m.Epoch == l.at.Epoch && m.Offset <= l.at.Offset: // it was in the history
	case m.Epoch == l.at.Epoch && m.Previous <= l.at.Offset:
		l.hand(m)
	default:
		l.fallBehind()
		l.hold(m)
	}
}

func (l *line) hold(m *bus.Kept) {
	if l.size += len(m.Payload); l.size > heldBytes {
		l.held, l.size, l.again = nil, 0, true
		return
	}
	kept := *m
	kept.Payload = bytes.Clone(m.Payload)
	l.held = append(l.held, kept)
}

// hand hands the next message to every member. The caller holds the lock.
func (l *line) hand(m *bus.Kept) {
	if m.Offset <= l.at.Offset {
		return
	}
	l.at.Offset = m.Offset
	areFew := len(l.members) <= few
	var frame shared
	for s, member := range l.members {
		if !member.joining && m.Offset <= member.after {
			continue
		}
		if frame.plain == nil {
			frame.plain = keptFrame(l.name, m)
		}
		if member.joining {
			member.hold(heldFrame{frame: frame.plain, offset: m.Offset}, s.route.queueSize/4)
		} else {
			s.sendToFew(&frame, areFew)
		}
	}
}

// plain hands on what was published past history.
func (l *line) plain(m *broadcast) {
	l.mu.Lock()
	defer l.mu.Unlock()
	areFew := len(l.members) <= few
	for s := range l.members {
		m.to(s, areFew)
	}
}

// turn begins another epoch: Redis has forgotten the one before. The caller holds the lock.
func (l *line) turn(epoch string) {
	l.at = bus.Position{Epoch: epoch}
	for _, member := range l.members {
		member.after = 0
	}
}

// skip goes on after an offset, and tells the members that what was before it is lost to them. The caller holds the lock.
func (l *line) skip(offset uint64) {
	l.at.Offset = offset
	frame := gapFrame(l.name, l.at)
	for s, member := range l.members {
		switch {
		case member.joining:
			member.hold(heldFrame{frame: frame, offset: offset, gap: true}, s.route.queueSize/4)
		case member.after <= offset:
			s.sendLater(frame)
		}
	}
}

func (m *member) hold(f heldFrame, limit int) {
	if m.size += len(f.frame); m.size > limit && len(m.held) > 0 {
		m.held, m.overrun = nil, true
		return
	}
	if !m.overrun {
		m.held = append(m.held, f)
	}
}

func (l *line) leave(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.members, s)
}

// each calls f for every member, under a lock that keeps them from changing: f must not wait.
func (l *line) each(f func(*session)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.members {
		f(s)
	}
}
