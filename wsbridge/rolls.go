package wsbridge

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// callers is how many rolls are told to Redis at a time.
	callers = 64
	// callBatch is how many changes of a roll go to Redis in one step.
	callBatch = 128
	// attending is how long a subscription waits until Redis knows who is there.
	attending = 2 * time.Second
)

// rolls are the channels of this node with presence. Each says who of the node is there; Redis is told what changes, and told
// again until it has it. Nothing of it runs before the first one is there.
type rolls struct {
	node  *Node
	store *bus.Servers
	ctx   context.Context // of commands; ends with close
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu       sync.Mutex
	rolls    map[string]*roll // by channel
	queue    []*roll          // that wait for a caller
	busy     int              // callers that run
	stuck    []*roll          // that wait for the next beat
	emptied  []string         // channels that are held in Redis, and may not need to be
	dropping map[string]bool  // those of them that are being let go
	leaving  []leaver
	closing  bool
	roster
}

// roll is who of this node is present in a channel.
type roll struct {
	channel string
	rule    *presenceRule
	members map[string]*attendee // by connection
	changed map[string]struct{}  // connections of which Redis is to be told
	held    string               // the node's name by which Redis holds the channel for it
	epoch   string               // in which Redis has it
	queued  bool                 // a caller has the roll, or will have, or it is stuck
}

// attendee is a connection that is present.
type attendee struct {
	user  string
	info  json.RawMessage
	epoch string        // in which Redis was told of it; empty before
	told  chan struct{} // closed once Redis was told of it, or could not be; nil from then on
	sent  bool          // Redis may know of it
}

// done has whoever waits go on. The caller holds the lock.
func (a *attendee) done() {
	if a.told != nil {
		close(a.told)
		a.told = nil
	}
}

// leaver is a connection that is gone, and may come back as another.
type leaver struct {
	roll       *roll
	connection string
	at         time.Duration // as uptime
}

func newRolls(n *Node, store *bus.Servers) *rolls {
	p := &rolls{node: n, store: store, rolls: map[string]*roll{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// join has a connection be present in a channel, and returns what is closed once Redis has been told.
func (p *rolls) join(channel string, rule *presenceRule, connection, user string, info json.RawMessage) <-chan struct{} {
	told := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.rolls[channel]
	if l == nil {
		l = &roll{channel: channel, members: map[string]*attendee{}}
		p.rolls[channel] = l
	}
	l.rule = rule
	_, sent := l.changed[connection] // where it is not a member, Redis is yet to be told that it has left
	if before := l.members[connection]; before != nil {
		before.done()
		sent = before.sent
	} else {
		p.node.metrics.Present(1)
	}
	l.members[connection] = &attendee{user: user, info: info, told: told, sent: sent}
	l.change(connection)
	p.begin()
	p.enqueue(l)
	return told
}

// leave undoes join: at once, or after a while in which its user may come back.
func (p *rolls) leave(channel, connection string, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.rolls[channel]
	switch {
	case l == nil || l.members[connection] == nil:
	case gone && l.rule.grace > 0:
		p.leaving = append(p.leaving, leaver{l, connection, uptime() + l.rule.grace})
	default:
		p.remove(l, connection)
	}
}

// remove takes a connection from a roll. The caller holds the lock.
func (p *rolls) remove(l *roll, connection string) {
	a := l.members[connection]
	if a == nil {
		return
	}
	a.done()
	p.node.metrics.Present(-1)
	delete(l.members, connection)
	if a.sent {
		l.change(connection)
	} else {
		delete(l.changed, connection) // so that who comes and goes while Redis is away leaves nothing behind
	}
	p.enqueue(l)
	p.drop(l)
}

// restore tells Redis of all who are in a channel, after the server that has it was away.
func (p *rolls) restore(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.rolls[channel]; l != nil {
		p.tellAll(l, "")
	}
}

// tellAll has Redis told of all in a roll, but of those that it has been told of in an epoch. The caller holds the lock.
func (p *rolls) tellAll(l *roll, but string) {
	for connection, a := range l.members {
		if but == "" || a.epoch != but {
			l.change(connection)
		}
	}
	p.enqueue(l)
}

// enqueue gives a roll with changes to a caller. The caller holds the lock.
func (p *rolls) enqueue(l *roll) {
	if l.queued || len(l.changed) == 0 {
		return
	}
	l.queued = true
	p.queue = append(p.queue, l)
	if p.busy < callers {
		p.busy++
		p.work.Go(p.call)
	}
}

// call tells Redis of rolls until none waits.
func (p *rolls) call() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		l := p.queue[0]
		p.queue = p.queue[1:]
		if p.callOne(l) {
			l.queued = false
			p.enqueue(l)
			p.drop(l)
		} else {
			p.stuck = append(p.stuck, l)
		}
	}
	p.queue = nil
	p.busy--
}

// drop forgets a roll that nobody is on, once nothing of it is to be told. The caller holds the lock.
func (p *rolls) drop(l *roll) {
	if len(l.members) > 0 || len(l.changed) > 0 || l.queued {
		return
	}
	delete(p.rolls, l.channel)
	if l.held == p.name {
		p.emptied = append(p.emptied, l.channel)
	}
}

// callOne tells Redis of some of what has changed in a roll, and reports false where it is to be told again after the next
// beat. The caller holds the lock, which is not held meanwhile.
func (p *rolls) callOne(l *roll) bool {
	if len(l.changed) == 0 {
		return true
	}
	hold := l.held != p.name && len(l.members) > 0
	if !p.lives() || hold && p.dropping[l.channel] {
		return false
	}
	node, ttl := p.name, l.rule.ttl
	changes, who := l.changes(node)
	p.mu.Unlock()
	var epoch string
	var err error
	if hold {
		err = p.store.HoldPresence(p.ctx, p.node.keys, node, l.channel, ttl)
	}
	if err == nil {
		epoch, _, err = p.store.ChangePresence(p.ctx, p.node.keys, l.channel, node, changes)
	}
	p.mu.Lock()
	for i, a := range who {
		if a != nil {
			a.done()
		}
		if err != nil {
			l.change(changes[i].Connection)
		} else if a != nil {
			a.epoch = epoch
		}
	}
	if err != nil {
		p.node.metrics.PresenceFailed()
		return false
	}
	if hold {
		l.held = node
	}
	forgotten := l.epoch != "" && l.epoch != epoch
	l.epoch = epoch
	switch {
	case p.name != node: // it has got another name meanwhile
		p.tellAll(l, "")
	case forgotten: // by Redis, and so others than these are missing there
		p.tellAll(l, epoch)
	}
	return true
}

// change has Redis told of a connection. The caller holds the lock.
func (l *roll) change(connection string) {
	if l.changed == nil {
		l.changed = map[string]struct{}{}
	}
	l.changed[connection] = struct{}{}
}

// changes takes some of what has changed, and whom it is about, nil for who has left. The caller holds the lock.
func (l *roll) changes(node string) (changes []bus.PresenceChange, who []*attendee) {
	for connection := range l.changed {
		if len(changes) == callBatch {
			break
		}
		delete(l.changed, connection)
		c := bus.PresenceChange{Change: bus.Leave, Connection: connection}
		a := l.members[connection]
		if a != nil {
			a.sent = true
			c.Change, c.Epoch = bus.Join, a.epoch
			c.Entry = bus.AppendPresence(nil, node, l.rule.events, a.user, a.info)
		}
		changes, who = append(changes, c), append(who, a)
	}
	if len(l.changed) == 0 {
		l.changed = nil // a map keeps the memory of its fullest time
	}
	return changes, who
}

// close tells Redis who has left, and that the node goes, if it can be told soon. Who may come back is left to the nodes
// that stay.
func (p *rolls) close() {
	p.mu.Lock()
	begun := p.begun && !p.closing
	p.closing = true
	p.mu.Unlock()
	if begun {
		timer := time.AfterFunc(attending, p.stop)
		p.endBeats()
		p.goodbye()
		timer.Stop()
	}
	p.stop()
	p.work.Wait()
}
