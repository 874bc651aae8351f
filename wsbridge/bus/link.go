package bus

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// link is the subscription of one server: of a Redis, or of one master of a cluster. It is kept up as long as the bus is
// open; that of a cluster's master ends when it breaks, and its names find the server that has them then.
type link struct {
	bus    *Redis
	key    linkKey
	client *redis.Client
	wake   chan struct{}

	// The bus's lock guards these.
	conn    *conn    // nil while down
	dirty   []*name  // whose subscription is to be changed
	unheard int      // commands not confirmed yet
	down    bool     // the server could not be reached the last time
	pinging bool     // a PING is to be sent
	asked   []asked  // the SUBSCRIBEs that are not answered yet, in their order
	foreign []string // channels that are another link's by now, to be unsubscribed from
}

// sound reports whether all that is wanted is subscribed to. The caller holds the bus's lock.
func (l *link) sound() bool { return l.conn != nil && l.unheard == 0 && len(l.dirty) == 0 }

// run keeps the link up until ctx ends.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		if c, err := l.connect(ctx); err == nil {
			l.serve(ctx, c)
		}
		l.bus.lost(l)
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		if l.key.server.cluster != nil {
			l.bus.dissolve(l)
			return
		}
	}
}

func (l *link) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	return dial(ctx, l.client)
}

// serve subscribes to all that is wanted, and reads until the connection breaks.
func (l *link) serve(ctx context.Context, c *conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	over := make(chan struct{})
	written := make(chan struct{})
	l.bus.connected(l, c)
	go func() { // it alone writes, so that the order of commands is that of the changes
		defer close(written)
		l.write(c, over)
	}()
	l.read(c)
	close(over)
	c.Close()
	<-written
}

// write tells Redis what is wanted, as much at a time as has come up.
func (l *link) write(c *conn, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-l.wake:
		}
		l.bus.commands(l, c)
		if c.flush() != nil {
			c.Close() // the reader notices
			return
		}
	}
}

// read hands on what Redis sends, until the connection breaks or is silent for too long.
func (l *link) read(c *conn) {
	for pinged := false; ; {
		begun, err := c.await()
		switch {
		case err != nil || !begun && pinged:
			return
		case !begun:
			pinged = true
			l.bus.ping(l)
			continue
		}
		pinged = false
		p, err := c.read()
		if err != nil {
			return
		}
		switch p.kind {
		case "message", "smessage":
			l.bus.handler.Receive(p.channel, p.payload)
		case "subscribe", "ssubscribe":
			c.channels[p.channel] = p.channel
			l.bus.confirmed(l, p.channel)
		case "unsubscribe", "sunsubscribe":
			delete(c.channels, p.channel)
			l.bus.left(l, p.channel)
		case "error":
			if isRefusal(p.payload) && l.bus.refused(l) {
				continue
			}
			// On a cluster a slot has moved, or is nobody's. Which one, the error does not say: all are made anew, where they
			// belong now.
			return
		}
	}
}
