package release

import (
	"context"
	_ "embed"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// evidence is what a variant is judged by: its requests of late, and stable's in the same time.
type evidence struct {
	variant, stable *counts
	nodes           int // whose requests they are; 0 for this one's alone, without the others
}

// observed is the evidence that this node has, for as long as the variant's window.
type observed struct{ variant, stable window }

func (o *observed) evidence() evidence {
	return evidence{variant: o.variant.sum(), stable: o.stable.sum()}
}

// defaultWindow is for variants that are not judged.
const defaultWindow = 5 * time.Minute

// window is how far back the requests of a variant count.
func (p *plan) window() time.Duration {
	if p.rollback == nil {
		return defaultWindow
	}
	return p.rollback.Window.Std()
}

// collect takes what has been counted since it was called last, and drops what is too old.
func (r *Release) collect(now time.Time) {
	stable := r.stable.tally.take()
	for _, v := range r.variants {
		length := v.plan.window()
		v.mine.variant.slide(now, length)
		v.mine.stable.slide(now, length)
		v.mine.variant.add(v.tally.take())
		v.mine.stable.add(stable)
	}
}

// forget drops what was counted of a variant: it is to begin anew. Stable's requests still say how stable does.
func (v *Variant) forget() {
	v.tally.take()
	v.mine.variant.clear()
	v.judged = v.mine.evidence()
	v.told = time.Time{}
	v.waiting = false
}

//go:embed counts.lua
var countsScript string

const (
	// forgetNode is how long the counts of a node are added that tells no more, or the variant's window if that is shorter.
	forgetNode = time.Minute
	// nodesPerSecond bounds what nodes read of each other: of more than these each asks less often than every second.
	nodesPerSecond = 50
)

// keepCounts is forgetNode for the variant.
func (p *plan) keepCounts() time.Duration { return min(forgetNode, p.window()) }

// isDue reports whether the node is to ask what others have counted.
func (v *Variant) isDue(now time.Time) bool {
	if v.plan.rollback == nil {
		return false
	}
	every := min(time.Duration(v.judged.nodes)*time.Second/nodesPerSecond, v.plan.keepCounts()/3)
	return now.Sub(v.told) > every-stepEvery/2 // steps do not come to the millisecond
}

// exchangeCounts tells what this node has counted, and asks what the others have.
func (c *Controller) exchangeCounts(ctx context.Context, p redis.Pipeliner, r *Release, v *Variant) *redis.Cmd {
	mine := v.mine.evidence()
	text := mine.stable.appendTo(mine.variant.appendTo([]byte{countsVersion}))
	key := c.key(r, v) + ":counts:" + strconv.FormatInt(v.state.epoch, 10)
	return p.Eval(ctx, countsScript, []string{key}, c.options.Node, text, v.plan.keepCounts().Milliseconds())
}

// countsVersion begins what a node tells, and says how the rest is to be read.
const countsVersion = 1

// sum adds what nodes have told. What is not theirs is passed over.
func sum(told []string) evidence {
	all := evidence{variant: &counts{}, stable: &counts{}}
	for _, text := range told {
		if text == "" || text[0] != countsVersion {
			continue
		}
		variant, rest, err := parseCounts([]byte(text[1:]))
		if err != nil {
			continue
		}
		stable, rest, err := parseCounts(rest)
		if err != nil || len(rest) > 0 {
			continue
		}
		all.variant.add(variant)
		all.stable.add(stable)
		all.nodes++
	}
	return all
}
