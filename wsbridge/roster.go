package wsbridge

import (
	"slices"
	"strconv"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	// beatInterval is how often a node with presence says that it lives.
	beatInterval = time.Second
	// patience is how long a node may be silent: no longer than the shortest TTL. Nobody is taken out of a channel before its
	// TTL is over.
	patience = 4 * time.Second
	// sweepLease is for how long who sweeps is the only one.
	sweepLease = 10 * time.Second
	// sweepPage is how many channels of a node are swept before its others are asked for.
	sweepPage = 64
	// afterlife is how long a node is kept that is gone and has nobody anywhere: a command of its may be under way.
	afterlife = time.Minute
)

// roster is the node among those that have somebody present.
type roster struct {
	begun bool
	end   chan struct{} // closed to end the beats
	ended chan struct{} // closed when they have
	name  string        // by which the others know the node. It takes a new one when they have taken it for gone
	lifes int
	beat  time.Duration // when the latest beat began that Redis has taken, as uptime; 0 for none
	since time.Duration // when the first did without one missing since
}

// begin starts the beats. The caller holds the lock.
func (p *rolls) begin() {
	if p.begun || p.closing {
		return
	}
	p.begun, p.end, p.ended = true, make(chan struct{}), make(chan struct{})
	p.name = p.node.name
	p.work.Go(p.beats)
}

// watch has the node sweep where it has nobody present itself.
func (p *rolls) watch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
}

// lives reports whether nobody can have taken this node for gone yet. The caller holds the lock.
func (p *rolls) lives() bool { return p.beat != 0 && uptime()-p.beat < patience/2 }

// beats runs until close.
func (p *rolls) beats() {
	defer close(p.ended)
	ticks := time.NewTicker(beatInterval)
	defer ticks.Stop()
	sweeping := make(chan struct{}, 1)
	first := true
	for {
		gone, lives := p.beatOnce(first, len(sweeping) == 0)
		first = first && !lives
		if len(gone) > 0 {
			sweeping <- struct{}{}
			p.work.Go(func() {
				p.sweep(gone)
				<-sweeping
			})
		}
		select {
		case <-ticks.C:
		case <-p.end:
			return
		}
	}
}

// beatOnce says that the node lives, and has done what waits for that.
func (p *rolls) beatOnce(first, sweep bool) (gone []bus.GoneNode, lives bool) {
	p.mu.Lock()
	now := uptime()
	// After a silence of Redis all nodes look gone: who sweeps has heard of it all the time.
	b := bus.Beat{Node: p.name, First: first, Sweep: sweep && p.since != 0 && now-p.since > patience, Patience: patience, Lease: sweepLease}
	p.mu.Unlock()
	lives, gone, err := p.store.BeatPresence(p.ctx, p.node.keys, b)
	if err == nil && !lives {
		b = p.rename(b)
		lives, gone, err = p.store.BeatPresence(p.ctx, p.node.keys, b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	if err != nil || !lives {
		p.since = 0
		p.stuck = slices.DeleteFunc(p.stuck, func(l *roll) bool {
			settled := len(l.changed) == 0
			if settled {
				l.queued = false
				p.drop(l)
			}
			return settled
		})
		return nil, false
	}
	if p.since == 0 || now-p.beat > patience/2 {
		p.since = now
	}
	p.beat = now
	stuck := p.stuck
	p.stuck = nil
	for _, l := range stuck {
		l.queued = false
		p.enqueue(l)
		p.drop(l)
	}
	p.release()
	return gone, true
}

// rename begins another life of the node: what it has in Redis is of the one before, and is told anew.
func (p *rolls) rename(b bus.Beat) bus.Beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lifes++
	b.Former, p.name = p.name, p.node.name+"."+strconv.Itoa(p.lifes)
	b.Node, b.First, b.Sweep = p.name, true, false
	p.beat, p.emptied = 0, nil
	for _, l := range p.rolls {
		p.tellAll(l, "")
	}
	return b
}

// expire removes those who have not come back. The caller holds the lock.
func (p *rolls) expire(now time.Duration) {
	left := p.leaving[:0]
	for _, one := range p.leaving {
		if one.at > now {
			left = append(left, one)
		} else {
			p.remove(one.roll, one.connection)
		}
	}
	clear(p.leaving[len(left):])
	p.leaving = left
}

// release has Redis hold channels no longer in which the node has nobody any more. The caller holds the lock, which is not held
// meanwhile.
func (p *rolls) release() {
	p.dropping = map[string]bool{}
	var channels []string
	for _, channel := range p.emptied {
		if p.rolls[channel] == nil && !p.dropping[channel] {
			p.dropping[channel] = true
			channels = append(channels, channel)
		}
	}
	p.emptied = nil
	if len(channels) > 0 {
		node := p.name
		p.mu.Unlock()
		err := p.store.DropPresence(p.ctx, p.node.keys, node, channels...)
		p.mu.Lock()
		if err != nil {
			p.emptied = append(p.emptied, channels...)
		}
	}
	p.dropping = nil
}

// sweep takes the connections of nodes that are gone out of the channels whose TTL is over.
func (p *rolls) sweep(gone []bus.GoneNode) {
	for _, node := range gone {
		for {
			channels, err := p.store.HeldPresence(p.ctx, p.node.keys, node.Name, node.Silent, sweepPage)
			if err != nil || len(channels) == 0 {
				if err == nil && node.Silent > afterlife {
					_ = p.store.ForgetPresence(p.ctx, p.node.keys, node.Name)
				}
				break
			}
			for _, channel := range channels {
				removed, err := p.store.SweepPresence(p.ctx, p.node.keys, node.Name, channel)
				p.node.metrics.PresenceSwept(int(removed))
				if err != nil {
					return
				}
			}
			if p.store.DropPresence(p.ctx, p.node.keys, node.Name, channels...) != nil {
				return
			}
		}
	}
}

func (p *rolls) endBeats() {
	close(p.end)
	<-p.ended
}

// goodbye tells Redis what is left to tell, and that the node is no more.
func (p *rolls) goodbye() {
	p.mu.Lock()
	for p.beat != 0 && p.ctx.Err() == nil && (p.busy > 0 || len(p.queue) > 0) {
		p.mu.Unlock()
		p.work.Wait()
		p.mu.Lock()
	}
	if p.beat != 0 {
		p.release()
	}
	node := p.name
	p.mu.Unlock()
	_ = p.store.ForgetPresence(p.ctx, p.node.keys, node)
}
