package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossgate/crossgate/integration/redistest"
)

// trips counts commands and how many times something is sent, what go-redis sends of its own not counted.
type trips struct {
	sent, commands atomic.Int64
}

func (c *trips) count(cmds ...redis.Cmder) {
	n := int64(0)
	for _, cmd := range cmds {
		if name := cmd.Name(); name != "hello" && name != "client" {
			n++
		}
	}
	if n > 0 {
		c.sent.Add(1)
		c.commands.Add(n)
	}
}

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds...)
		return next(ctx, cmds)
	}
}

func TestCommandsOfManyGoroutinesGoTogether(t *testing.T) {
	client := redistest.Start(t).Client()
	count := new(trips)
	client.AddHook(count)
	p := &pipeline{client: client}
	const callers, each = 50, 100
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			for j := range each {
				cmd := redis.NewIntCmd(t.Context(), "incr", fmt.Sprint(i))
				if err := p.do(t.Context(), cmd); err != nil || cmd.Val() != int64(j+1) {
					t.Errorf("caller %d: command %d answers %d, %v", i, j, cmd.Val(), err)
					return
				}
			}
		})
	}
	running.Wait()
	t.Logf("%d commands in %d round trips", count.commands.Load(), count.sent.Load())
	if count.commands.Load() != callers*each || count.sent.Load() > callers*each/4 {
		t.Error("that is a round trip for every few")
	}
}

func TestACommandThatFailsFailsAlone(t *testing.T) {
	client := redistest.Start(t).Client()
	p := &pipeline{client: client}
	client.Set(t.Context(), "text", "x", 0)
	var running sync.WaitGroup
	for i := range 100 {
		running.Go(func() {
			if i%10 == 0 {
				if err := p.do(t.Context(), redis.NewIntCmd(t.Context(), "incr", "text")); err == nil {
					t.Error("a text was counted up")
				}
			} else if err := p.do(t.Context(), redis.NewIntCmd(t.Context(), "incr", "n")); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
}

func TestACommandThatHasNotGoneCanBeWithdrawn(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Address, MaxRetries: -1, ContextTimeoutEnabled: true, ReadTimeout: redistest.Patience})
	defer client.Close()
	p := &pipeline{client: client}
	server.Hang()
	var running sync.WaitGroup
	for range flights { // these are under way, and wait for Redis
		running.Go(func() { _ = p.do(t.Context(), redis.NewIntCmd(t.Context(), "incr", "n")) })
	}
	redistest.Eventually(t, "they are under way", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.flying == flights && len(p.waiting) == 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.do(ctx, redis.NewIntCmd(ctx, "incr", "other")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command behind others ends in %v", err)
	}
	server.Continue()
	running.Wait()
	if err := p.do(t.Context(), redis.NewIntCmd(t.Context(), "incr", "n")); err != nil {
		t.Error(err)
	}
	if n := client.Exists(t.Context(), "other").Val(); n != 0 {
		t.Error("a command that was withdrawn was sent")
	}
}

func TestAScriptIsSentOnce(t *testing.T) {
	client := redistest.Start(t).Client()
	count := new(trips)
	client.AddHook(count)
	p := &pipeline{client: client}
	s := newScript("return {KEYS[1], ARGV[1]}")
	for range 3 {
		got, err := p.run(t.Context(), s, []string{"k"}, "v")
		if err != nil || fmt.Sprint(got) != "[k v]" {
			t.Fatalf("the script returns %v, %v", got, err)
		}
	}
	if n := count.commands.Load(); n != 4 {
		t.Errorf("three calls took %d commands, want 4: the script has to be sent once", n)
	}
}

// answering answers commands by itself, so that many go in a short time.
type answering struct{ redis.Hook }

func (answering) DialHook(next redis.DialHook) redis.DialHook { return next }

func (answering) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		runtime.Gosched()
		cmd.(*redis.IntCmd).SetVal(1)
		return nil
	}
}

func (a answering) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			_ = a.ProcessHook(nil)(ctx, cmd)
		}
		return nil
	}
}

func TestACommandReturnsOnceItIsAnsweredHoweverManyBeginTogether(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	client.AddHook(answering{})
	var early, astray atomic.Int64
	for range 5_000 {
		p := &pipeline{client: client}
		var running sync.WaitGroup
		for range 4 {
			running.Go(func() {
				cmd := redis.NewIntCmd(t.Context(), "incr", "n")
				if p.do(t.Context(), cmd) != nil || cmd.Val() != 1 {
					early.Add(1)
				}
			})
		}
		running.Wait()
		astray.Add(int64(p.flying))
	}
	if early.Load() > 0 || astray.Load() > 0 {
		t.Errorf("%d commands returned before they were answered; %d batches count as under way after all have come back", early.Load(), astray.Load())
	}
}
