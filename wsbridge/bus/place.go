package bus

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// place gives names the link of the server that has them. It ends with Close.
func (b *Redis) place() {
	reviews := time.NewTicker(review)
	defer reviews.Stop()
	for {
		failed := b.placeAll()
		pause := time.NewTimer(retry)
		select {
		case <-b.ctx.Done():
			return
		case <-b.wake:
		case <-reviews.C:
			b.review()
			b.askAgain()
		case <-when(failed, pause.C):
		}
		pause.Stop()
	}
}

// when is c, or nothing ever.
func when(ok bool, c <-chan time.Time) <-chan time.Time {
	if ok {
		return c
	}
	return nil
}

// placeAll reports whether a name is left that has no server.
func (b *Redis) placeAll() (failed bool) {
	b.mu.Lock()
	names := b.homeless
	b.homeless, b.placing = nil, len(names)
	b.mu.Unlock()
	var left []*name
	for _, n := range names {
		server := b.of(n.channel)
		key := linkKey{server: server}
		client, err := server.locate(b.ctx, n.channel)
		if err == nil && server.cluster != nil {
			key.address = client.Options().Addr
		}
		b.mu.Lock()
		switch {
		case n.wanted == 0 || n.link != nil:
			b.forget(n)
		case err != nil:
			n.answer(ErrDown)
			left = append(left, n)
		default:
			l := b.links[key]
			if l == nil {
				l = &link{bus: b, key: key, client: client, wake: make(chan struct{}, 1)}
				b.links[key] = l
				b.done.Go(func() { l.run(b.ctx) })
			}
			n.link = l
			if l.down {
				n.answer(ErrDown)
			}
			b.change(n)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	b.homeless, b.placing = append(b.homeless, left...), 0
	b.mu.Unlock()
	b.tell()
	return len(left) > 0
}

// dissolve ends a link to a cluster's master: another one may have its slots now.
func (b *Redis) dissolve(l *link) {
	b.mu.Lock()
	delete(b.links, l.key)
	for _, n := range b.names {
		if n.link == l {
			n.evict()
			b.change(n)
		}
	}
	b.mu.Unlock()
	l.key.server.cluster.ReloadState(b.ctx)
	wake(b.wake)
	b.tell()
}

// review moves names whose slots have moved, where the server that had them did not say.
func (b *Redis) review() {
	b.mu.Lock()
	var names []*name
	for _, n := range b.names {
		if n.link != nil && n.link.key.server.cluster != nil {
			names = append(names, n)
		}
	}
	b.mu.Unlock()
	moved := false
	for _, n := range names {
		client, err := b.of(n.channel).locate(b.ctx, n.channel)
		if err != nil {
			return
		}
		b.mu.Lock()
		if l := n.link; l != nil && l.key.address != client.Options().Addr {
			if n.sent {
				l.foreign = append(l.foreign, n.channel)
				wake(l.wake)
			}
			n.evict()
			b.change(n)
			moved = true
		}
		b.mu.Unlock()
	}
	if moved {
		b.tell()
	}
}

// locate returns the client of the server that has a channel.
func (s *server) locate(ctx context.Context, channel string) (*redis.Client, error) {
	if s.cluster == nil {
		return s.one, nil
	}
	if s.stale.Swap(false) {
		s.cluster.ReloadState(ctx)
	}
	return s.cluster.MasterForKey(ctx, channel)
}

// batches divides channels into those that a command may have.
func (s *server) batches(channels []string) [][]string {
	most := batch
	if s.cluster != nil { // a command may have channels of one slot only
		most = 1
	}
	return slices.Collect(slices.Chunk(channels, most))
}

// command appends a command for channels.
func (s *server) command(c *conn, name string, channels []string) {
	if s.cluster != nil {
		name = "S" + name
	}
	c.command(name, channels...)
}
