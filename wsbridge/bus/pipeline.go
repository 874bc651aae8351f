package bus

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

const (
	// flights is how many batches of commands are under way at a time.
	flights = 2
	// flight is the most commands of a batch.
	flight = 256
)

// pipeline sends the commands that many goroutines have at the same time together. A command that is alone goes at once;
// those that come while others are under way go with the next batch, which one of their goroutines sends. A command is sent
// once, whatever happens to it: who can repeat it knows that.
type pipeline struct {
	client redis.UniversalClient

	mu      sync.Mutex
	waiting []*call
	flying  int
}

type call struct {
	cmd  redis.Cmder
	done chan []*call // gets the next batch where this call, the first of it, is to send it; nil once the command was answered
}

// do returns the command's error once it was answered. A command that ctx ends before it is under way is not sent; one that
// is under way is waited for, since it is being read.
func (p *pipeline) do(ctx context.Context, cmd redis.Cmder) error {
	c := &call{cmd, make(chan []*call, 1)}
	p.mu.Lock()
	p.waiting = append(p.waiting, c)
	var batch []*call
	if p.flying < flights { // and so none but this one waits
		p.flying++
		batch = p.next()
	}
	p.mu.Unlock()
	if batch == nil {
		select {
		case batch = <-c.done:
		case <-ctx.Done():
			if p.withdraw(c) {
				return ctx.Err()
			}
			batch = <-c.done
		}
	}
	if batch != nil {
		p.send(batch)
	}
	return cmd.Err()
}

// next takes a batch of what waits. The caller holds the lock, under which it is decided too who sends it: else another one's
// batch could take a call that is about to be sent with its own.
func (p *pipeline) next() []*call {
	n := min(len(p.waiting), flight)
	batch := p.waiting[:n:n]
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil
	}
	return batch
}

// withdraw takes a call back, unless it is in a batch.
func (p *pipeline) withdraw(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, c)
	if i < 0 {
		return false
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	return true
}

// send sends a batch for its first call, and has a call that waits then send the next one.
func (p *pipeline) send(batch []*call) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	if len(batch) == 1 {
		_ = p.client.Process(ctx, batch[0].cmd)
	} else {
		pipe := p.client.Pipeline()
		for _, c := range batch {
			_ = pipe.Process(ctx, c.cmd)
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
	p.checkTopology(ctx, batch)

	p.mu.Lock()
	if next := p.next(); len(next) > 0 {
		next[0].done <- next
	} else {
		p.flying--
	}
	p.mu.Unlock()
	for _, c := range batch[1:] {
		c.done <- nil
	}
}

// checkTopology has a cluster's client ask who has which slots when a server did not answer: go-redis does so by itself only
// when one answers that it has not.
func (p *pipeline) checkTopology(ctx context.Context, batch []*call) {
	cluster, ok := p.client.(*redis.ClusterClient)
	if !ok {
		return
	}
	for _, c := range batch {
		var answered redis.Error
		if err := c.cmd.Err(); err != nil && !errors.As(err, &answered) {
			cluster.ReloadState(ctx) // at most one at a time, and in another goroutine
			return
		}
	}
}

// script is a Lua script of the bus.
type script struct{ source, hash string }

func newScript(source string) script {
	sum := sha1.Sum([]byte(source)) // as EVALSHA has it
	return script{source, hex.EncodeToString(sum[:])}
}

// run runs a script, which Redis is given where it does not have it.
func (p *pipeline) run(ctx context.Context, s script, keys []string, args ...any) (any, error) {
	words := make([]any, 3, 3+len(keys)+len(args))
	words[0], words[1], words[2] = "evalsha", s.hash, len(keys)
	for _, k := range keys {
		words = append(words, k)
	}
	words = append(words, args...)
	cmd := redis.NewCmd(ctx, words...)
	err := p.do(ctx, cmd)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		words[0], words[1] = "eval", s.source
		cmd = redis.NewCmd(ctx, words...)
		err = p.do(ctx, cmd)
	}
	if err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}
