package ratelimit

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// DefaultDeadline is the longest a request waits for Redis before a limit's OnFailure applies.
const DefaultDeadline = 100 * time.Millisecond

// Redis keeps buckets over all nodes. Its clock is the server's, so that nodes need not agree on the time. The takes of a
// call are one script, and one round trip. In a cluster they are one script for each Slot, all sent at once; when one of
// several refuses, the others give back what they have charged.
type Redis struct {
	client   redis.UniversalClient
	prefix   string
	deadline time.Duration
	cluster  bool
	places   *places
}

// NewRedis returns a store whose keys begin with prefix; a deadline of 0 is the default. A client of another type than
// *redis.Client needs ContextTimeoutEnabled.
func NewRedis(client redis.UniversalClient, prefix string, deadline time.Duration) *Redis {
	if deadline == 0 {
		deadline = DefaultDeadline
	}
	r := &Redis{client: client, prefix: prefix + "limit:", deadline: deadline}
	if c, ok := client.(*redis.Client); ok {
		// By default go-redis reads and writes by its own timeouts, of seconds, whatever the context's deadline.
		r.client = c.WithTimeout(deadline)
	}
	_, r.cluster = client.(*redis.ClusterClient)
	r.places = newPlaces(r)
	return r
}

// Close gives back every place that is to be given back, and waits for what runs in the background.
func (r *Redis) Close() { r.places.close() }

var (
	//go:embed take.lua
	takeLua string
	//go:embed return.lua
	returnLua string

	takeScript   = redis.NewScript(takeLua)
	returnScript = redis.NewScript(returnLua)
)

// Take asks Redis once for all takes.
func (r *Redis) Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	dst, _, err := r.take(ctx, dst, nil, takes, nil)
	return dst, err
}

// answers is how many numbers the script gives for a key.
const answers = 4

// take asks Redis once. A rate grants up to want events where there is a want and it is more than the cost; how many is
// appended to granted.
func (r *Redis) take(ctx context.Context, dst []Decision, granted []int, takes []Take, want []int) ([]Decision, []int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.deadline)
	defer cancel()
	calls := r.calls(takes, want)
	if err := r.run(ctx, calls); err != nil {
		for i := range takes {
			if takes[i].Limit.Kind == Concurrency {
				r.undo(&takes[i]) // it may have been given
			}
		}
		return dst, granted, fmt.Errorf("ratelimit: redis: %w", err)
	}
	all := true
	for _, c := range calls {
		all = all && c.allowed
	}
	for i := range takes {
		c, at := callOf(calls, i)
		d, n := c.decision(at, takes[i].Limit.Burst)
		if charged := d.Allowed && c.allowed; charged && !all {
			r.undo(&takes[i])
			d.Remaining = min(d.Limit, d.Remaining+n)
		}
		dst, granted = append(dst, d), append(granted, n)
	}
	if all {
		r.places.hold(takes, dst[len(dst)-len(takes):])
	}
	return dst, granted, nil
}

// call is one script: what it is asked, and its answer.
type call struct {
	takes   []int // which of all
	keys    []string
	args    []any
	out     []int64
	allowed bool // nothing refuses that is no dry run
	dry     []bool
}

// calls are the scripts for takes: one, but in a cluster one for each slot.
func (r *Redis) calls(takes []Take, want []int) []*call {
	var list []*call
	slots := map[string]*call{}
	for i := range takes {
		t := &takes[i]
		slot := ""
		if r.cluster {
			slot = t.Slot
		}
		c := slots[slot]
		if c == nil {
			c = new(call)
			slots[slot], list = c, append(list, c)
		}
		c.takes, c.keys, c.dry = append(c.takes, i), append(c.keys, r.key(t)), append(c.dry, t.DryRun)
		most := 0
		if want != nil {
			most = want[i]
		}
		c.args = r.appendArgs(c.args, t, most)
	}
	return list
}

// key names the bucket of a take: by a hash, for callers choose what is in it, and secrets may be.
func (r *Redis) key(t *Take) string {
	sum := sha256.Sum256(t.Key)
	return r.prefix + "{" + t.Slot + "}:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (r *Redis) appendArgs(args []any, t *Take, want int) []any {
	dry := 0
	if t.DryRun {
		dry = 1
	}
	l := &t.Limit
	switch l.Kind {
	case Quota:
		w := l.Calendar.at(time.Duration(time.Now().UnixNano()))
		return append(args, "q", t.Cost, dry, l.Burst, w.start.Microseconds(), w.end.Microseconds(), w.next.Microseconds())
	case Concurrency:
		t.Place = r.places.next()
		return append(args, "c", t.Cost, dry, l.Burst, r.places.lease.Microseconds(), r.places.member(t.Place), 0)
	}
	return append(args, "r", t.Cost, dry, microseconds(l.interval()), l.Burst, want, 0)
}

func microseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 3, 64)
}

// run sends calls at once and reads their answers.
func (r *Redis) run(ctx context.Context, calls []*call) error {
	if len(calls) == 1 {
		return calls[0].read(takeScript.Run(ctx, r.client, calls[0].keys, calls[0].args...))
	}
	commands := make([]*redis.Cmd, len(calls))
	_, _ = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, c := range calls {
			commands[i] = takeScript.EvalSha(ctx, p, c.keys, c.args...)
		}
		return nil
	})
	var errs []error
	for i, c := range calls {
		if redis.HasErrorPrefix(commands[i].Err(), "NOSCRIPT") {
			commands[i] = takeScript.Eval(ctx, r.client, c.keys, c.args...)
		}
		errs = append(errs, c.read(commands[i]))
	}
	return errors.Join(errs...)
}

func (c *call) read(answer *redis.Cmd) error {
	var err error
	if c.out, err = answer.Int64Slice(); err != nil {
		return err
	}
	if len(c.out) != answers*len(c.keys) {
		return fmt.Errorf("%d numbers came back, %d were expected", len(c.out), answers*len(c.keys))
	}
	c.allowed = true
	for i := range c.keys {
		c.allowed = c.allowed && (c.out[answers*i] == 0 || c.dry[i])
	}
	return nil
}

// callOf returns the call that take i is in, and where.
func callOf(calls []*call, i int) (*call, int) {
	for _, c := range calls {
		for at, one := range c.takes {
			if one == i {
				return c, at
			}
		}
	}
	panic("ratelimit: a take is in no call")
}

func (c *call) decision(at, limit int) (Decision, int) {
	out := c.out[answers*at:]
	return Decision{
		Allowed:    out[0] == 0,
		Limit:      limit,
		Remaining:  int(max(0, out[1])),
		Reset:      time.Duration(out[2]) * time.Microsecond,
		RetryAfter: time.Duration(out[0]) * time.Microsecond,
	}, int(out[3])
}

// Return gives places, and events that were not used, back in the background.
func (r *Redis) Return(takes []Take) {
	for i := range takes {
		r.undo(&takes[i])
	}
}

func (r *Redis) undo(t *Take) {
	back := giveBack{key: r.key(t)}
	switch t.Limit.Kind {
	case Concurrency:
		back.place = t.Place
	case Quota:
		back.kind, back.cost, back.unit = "q", t.Cost, "0"
	case Rate:
		back.kind, back.cost, back.unit = "r", t.Cost, microseconds(t.Limit.interval())
	}
	r.places.giveBack(back)
}
