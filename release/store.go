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

func (c *Controller) key(r *Release, v *Variant) string {
	return c.options.Prefix + "release:" + r.config.Name + ":" + v.Name + ":" + v.plan.fingerprint
}

// agree has this node know what others know of its variants, and the other way round. While Redis is gone each node goes by
// what it knows.
func (c *Controller) agree(ctx context.Context, now time.Time) error {
	type asked struct {
		r *Release
		v *Variant
	}
	var all []asked
	for _, r := range c.live.byName {
		for _, v := range r.variants {
			if v.plan.shared() {
				all = append(all, asked{r, v})
			}
		}
	}
	if len(all) == 0 || c.options.Redis == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	kept := make([]*redis.MapStringStringCmd, len(all))
	if _, err := c.options.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, one := range all {
			kept[i] = p.HGetAll(ctx, c.key(one.r, one.v))
		}
		return nil
	}); err != nil {
		return err
	}
	for i, one := range all {
		before := one.v.state
		tell := one.v.state.merge(kept[i].Val())
		c.learned(one.r, one.v, &before)
		if err := c.tell(ctx, one.r, one.v, tell, now); err != nil {
			return err
		}
	}
	return nil
}

// tell writes what others do not know. A rollback is written once, and whoever did it publishes it.
func (c *Controller) tell(ctx context.Context, r *Release, v *Variant, fields map[string]string, now time.Time) error {
	if len(fields) == 0 && now.Sub(v.refreshed) < refreshState {
		return nil
	}
	key, field := c.key(r, v), v.state.field(fieldRollback)
	rollback, rolled := fields[field]
	delete(fields, field)
	var first *redis.BoolCmd
	if _, err := c.options.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if len(fields) > 0 {
			p.HSet(ctx, key, fields)
		}
		if rolled {
			first = p.HSetNX(ctx, key, field, rollback)
		}
		p.Expire(ctx, key, keepState)
		return nil
	}); err != nil {
		return err
	}
	v.refreshed = now
	if rolled && first.Val() {
		return c.publish(ctx, &Event{Type: "rolled_back", Release: r.config.Name, Variant: v.Name, RolledBack: v.state.rollback, Node: c.options.Node})
	}
	return nil
}

func (c *Controller) publish(ctx context.Context, e *Event) error {
	if c.options.Redis == nil {
		return nil
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return c.options.Redis.Publish(ctx, c.options.Prefix+"release:events", text).Err()
}
