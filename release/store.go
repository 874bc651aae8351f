package release

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// keepState is how long the state of a variant is kept that no node has any more.
	keepState = 90 * 24 * time.Hour
	// refreshState is how often that is begun anew.
	refreshState = time.Hour
	// storeTimeout bounds one exchange with Redis.
	storeTimeout = time.Second
)

// Event is what is published on the channel {prefix}release:events.
type Event struct {
	Type       string      `json:"type"` // rolled_back or reset
	Release    string      `json:"release"`
	Variant    string      `json:"variant"`
	RolledBack *RolledBack `json:"rolled_back,omitempty"`
	Node       string      `json:"node"`
}

// key is that of a variant's state. All that Redis has of a variant is in one slot of a cluster: what is known of a release is not
// torn where one master is gone.
func (c *Controller) key(r *Release, v *Variant) string {
	return c.options.Prefix + "release:{" + r.config.Name + ":" + v.Name + ":" + v.plan.fingerprint + "}"
}

// asked is what Redis is asked about a variant.
type asked struct {
	release *Release
	variant *Variant
	state   *redis.MapStringStringCmd
	counts  *redis.Cmd // nil where it is not time for that
	err     error      // why the others do not know what this node does
}

// agree has this node know what others know of its variants, then does what follows from it, and tells them what they do not
// know. Of what cannot be asked about in Redis the node goes by what it knows itself. It returns what became of each variant.
func (c *Controller) agree(ctx context.Context, now time.Time, do func()) []*asked {
	all := c.ask(ctx, now)
	for _, a := range all {
		if a.err == nil {
			before := a.variant.state
			a.variant.state.merge(a.state.Val())
			c.learned(a.release, a.variant, &before)
		}
	}
	do()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout) // another one: a master that hangs must not keep what others have from them
	defer cancel()
	for _, a := range all {
		if a.err == nil {
			a.err = c.tell(ctx, a.release, a.variant, a.variant.state.merge(a.state.Val()), now)
		}
	}
	c.report()
	return all
}

// ask asks about every variant that nodes agree about, in one round trip to each server that has some of them.
func (c *Controller) ask(ctx context.Context, now time.Time) []*asked {
	var all []*asked
	for _, r := range c.live.byName {
		for _, v := range r.variants {
			if c.options.Redis == nil || !v.plan.shared() {
				v.judged = v.mine.evidence()
				continue
			}
			all = append(all, &asked{release: r, variant: v})
		}
	}
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, _ = c.options.Redis.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its own error
		for _, a := range all {
			a.state = p.HGetAll(ctx, c.key(a.release, a.variant))
			if a.variant.isDue(now) {
				a.counts = c.exchangeCounts(ctx, p, a.release, a.variant)
			}
		}
		return nil
	})
	for _, a := range all {
		a.err = a.state.Err()
		if a.counts == nil && a.err == nil && a.variant.plan.rollback != nil {
			continue // what was asked a moment ago is good enough
		}
		a.variant.judged = a.variant.mine.evidence()
		if a.counts == nil {
			continue
		}
		if told, err := a.counts.StringSlice(); err == nil {
			a.variant.judged, a.variant.told = sum(told), now
		}
	}
	return all
}

// rollBackScript writes a rollback where there is none, publishes it, and returns the one that holds: in one step, on the master
// that has the key.
const rollBackScript = `
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  redis.call('PUBLISH', ARGV[3], ARGV[4])
end
return redis.call('HGET', KEYS[1], ARGV[1])`

// tell writes what others do not know. Of several nodes that roll a variant back at a time the first has done it.
func (c *Controller) tell(ctx context.Context, r *Release, v *Variant, fields map[string]string, now time.Time) error {
	if len(fields) == 0 && now.Sub(v.refreshed) < refreshState {
		return nil
	}
	key, field := c.key(r, v), v.state.field(fieldRollback)
	rollback, rolled := fields[field]
	delete(fields, field)
	var kept *redis.Cmd
	if _, err := c.options.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if len(fields) > 0 {
			p.HSet(ctx, key, fields)
		}
		if rolled {
			e := &Event{Type: "rolled_back", Release: r.config.Name, Variant: v.Name, RolledBack: v.state.rollback, Node: c.options.Node}
			kept = p.Eval(ctx, rollBackScript, []string{key}, field, rollback, c.channel(), e.text())
		}
		p.Expire(ctx, key, keepState)
		return nil
	}); err != nil {
		return err
	}
	v.refreshed = now
	if !rolled {
		return nil
	}
	if holds, _ := kept.Text(); holds != rollback && v.decided {
		before := v.state
		before.rollback = nil
		v.decided = false // by another node, a moment before
		v.state.merge(map[string]string{field: holds})
		c.learned(r, v, &before)
	}
	return nil
}

func (c *Controller) channel() string { return c.options.Prefix + "release:events" }

func (e *Event) text() []byte {
	text, _ := json.Marshal(e) // strings and a time
	return text
}

func (c *Controller) publish(ctx context.Context, e *Event) error {
	if c.options.Redis == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return c.options.Redis.Publish(ctx, c.channel(), e.text()).Err()
}
