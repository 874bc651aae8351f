package ratelimit

import (
	"context"
	"sync"
	"time"
)

// Leased counts over all nodes without asking Redis each time: a node takes a batch of events of a rate from Redis before
// they come, and decides by itself while it has some. What a batch has not been used for lapses once Redis has as many
// anew. A refusal of Redis holds on the node until it can change.
//
// What is used was taken before, so that in any time of length T no more pass than the burst and what T brings, and the
// batches that were out when it began: one for each node. What other nodes have leased and do not use is missing
// elsewhere for as long: one batch for each of them.
type Leased struct {
	shared *Redis
	local  *Memory
	gate
	shards [shards]leaseShard

	low    chan refill // what is to be filled up
	closed chan struct{}
	work   sync.WaitGroup
}

type leaseShard struct {
	mu     sync.Mutex
	leases map[hashed]lease
	_      [48]byte
}

// lease is what a node has of a key. Times are those of Memory.
type lease struct {
	events  int // that may be used until lapses
	left    int // what Redis had besides
	lapses  time.Duration
	full    time.Duration // when all of the limit is back
	denied  time.Duration // until when Redis says no to cost or more
	cost    int
	filling bool // somebody asks Redis for a batch
}

// minLapse is how long a batch is kept at least, so that a fast limit is not asked for all the time.
const minLapse = time.Second

// Batch is how many events of a limit a node leases at once.
func Batch(l *Limit) int { return max(1, l.Burst/10) }

// NewLeased returns a store that leases from shared, and counts in local while shared fails.
func NewLeased(shared *Redis, local *Memory) *Leased {
	s := &Leased{shared: shared, local: local, gate: gate{now: time.Now}, low: make(chan refill, 1024), closed: make(chan struct{})}
	for i := range s.shards {
		s.shards[i].leases = map[hashed]lease{}
	}
	s.work.Go(s.refill)
	return s
}

// Close ends what runs in the background and waits for it. What is leased lapses.
func (s *Leased) Close() {
	close(s.closed)
	s.work.Wait()
}

func (s *Leased) shard(k hashed) *leaseShard { return &s.shards[k%shards] }

// Take asks Redis for what this node has none of only. It returns ErrUnavailable when Redis fails then and a limit says
// Refuse.
func (s *Leased) Take(ctx context.Context, dst []Decision, takes []Take) ([]Decision, error) {
	first, now := len(dst), s.local.now()
	var room [8]int
	missing := room[:0]
	all := true
	for i := range takes {
		d, short := s.use(&takes[i], now)
		dst = append(dst, d)
		if short {
			missing = append(missing, i)
		} else {
			all = all && (d.Allowed || takes[i].DryRun)
		}
	}
	asked := all && len(missing) > 0
	var err error
	if asked {
		all, asked, err = s.ask(ctx, dst[first:], takes, missing, now)
	}
	if all && err == nil {
		return dst, nil
	}
	for i := range takes {
		d, short := &dst[first+i], len(missing) > 0 && missing[0] == i
		if short {
			missing = missing[1:]
		}
		if d.Allowed && (!short || asked) {
			s.giveBack(&takes[i])
			d.Remaining = min(d.Limit, d.Remaining+takes[i].Cost)
		}
	}
	if err != nil {
		return dst[:first], err
	}
	return dst, nil
}

// use takes events of a lease. It reports whether Redis must be asked for them.
func (s *Leased) use(t *Take, now time.Duration) (d Decision, short bool) {
	k := s.local.hash(t.Key)
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	l := shard.leases[k]
	d = Decision{Limit: t.Limit.Burst, Reset: max(0, l.full-now)}
	switch {
	case l.events >= t.Cost && l.lapses > now:
		l.events -= t.Cost
		d.Allowed, d.Remaining = true, min(d.Limit, l.left+l.events)
		if batch := Batch(&t.Limit); l.events < (batch+1)/2 && batch > 1 && !l.filling {
			l.filling = s.fillLater(k, t, batch-l.events)
		}
		shard.leases[k] = l
	case l.denied > now && t.Cost >= l.cost:
		d.RetryAfter = l.denied - now
	default:
		d.Allowed = true // as far as this node knows
		return d, true
	}
	return d, false
}

// fillLater has the background fill a lease up. Where too many wait for that already, the next to come asks itself.
func (s *Leased) fillLater(k hashed, t *Take, events int) bool {
	again := *t
	again.Key, again.Cost, again.DryRun = append([]byte(nil), t.Key...), 1, true
	select {
	case s.low <- refill{k, again, events}:
		return true
	default:
		return false
	}
}

// ask has Redis decide about the takes that the node has no events for, and leases a batch of each: of each for itself,
// as what another limit refuses is used by the next to come. It reports whether all are allowed, and whether Redis has
// said so: else this node has, and has charged all or none.
func (s *Leased) ask(ctx context.Context, dst []Decision, takes []Take, missing []int, now time.Duration) (all, asked bool, err error) {
	wanted := make([]Take, len(missing))
	for at, i := range missing {
		wanted[at] = takes[i]
	}
	answers, granted, claimed, err := s.fetch(ctx, wanted, now)
	if err != nil {
		if ctx.Err() != nil {
			return false, false, err
		}
		if answers, err = alone(ctx, s.local, nil, wanted); err != nil {
			return false, false, err
		}
	}
	all = true
	for at, i := range missing {
		dst[i] = answers[at]
		all = all && (answers[at].Allowed || takes[i].DryRun)
		if granted != nil {
			s.keep(s.local.hash(takes[i].Key), &takes[i], answers[at], granted[at]-takes[i].Cost, claimed[at], now)
		}
	}
	return all, granted != nil, nil
}

func (s *Leased) fetch(ctx context.Context, wanted []Take, now time.Duration) (d []Decision, granted []int, claimed []bool, err error) {
	if !s.enter() {
		return nil, nil, nil, ErrUnavailable
	}
	asked := append([]Take(nil), wanted...)
	want := make([]int, len(asked))
	claimed = make([]bool, len(asked))
	for i := range asked {
		asked[i].DryRun = true
		// Of those who find a lease used up one asks for a batch, and the others for what they need.
		if claimed[i] = s.claim(s.local.hash(asked[i].Key), now); claimed[i] {
			want[i] = Batch(&asked[i].Limit)
		}
	}
	d, granted, err = s.shared.take(ctx, nil, nil, asked, want)
	if err == nil {
		s.answered()
		return d, granted, claimed, nil
	}
	for i := range asked {
		if claimed[i] {
			s.unclaim(s.local.hash(asked[i].Key))
		}
	}
	if ctx.Err() == nil {
		s.failed()
	}
	return nil, nil, nil, err
}

// claim reports whether this caller is the one that fills a lease up.
func (s *Leased) claim(k hashed, now time.Duration) bool {
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	l, known := shard.leases[k]
	if l.filling {
		return false
	}
	if !known {
		shard.makeRoom(now)
	}
	l.filling = true
	shard.leases[k] = l
	return true
}

func (s *Leased) unclaim(k hashed) {
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if l, known := shard.leases[k]; known {
		l.filling = false
		shard.leases[k] = l
	}
}

// keep notes what Redis has said, and the events that it has granted besides those in use.
func (s *Leased) keep(k hashed, t *Take, d Decision, events int, filled bool, now time.Duration) {
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	l, known := shard.leases[k]
	if !known {
		shard.makeRoom(now)
	}
	if filled {
		l.filling = false
	}
	if d.Allowed {
		if l.lapses <= now {
			l.events = 0
		}
		l.events += events
		l.left, l.full, l.denied = d.Remaining, now+d.Reset, 0
		l.lapses = now + max(minLapse, t.Limit.interval()*time.Duration(Batch(&t.Limit)))
	} else {
		l.denied, l.cost = now+d.RetryAfter, t.Cost
	}
	shard.leases[k] = l
}

// giveBack returns events to a lease.
func (s *Leased) giveBack(t *Take) {
	k := s.local.hash(t.Key)
	shard := s.shard(k)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if l, known := shard.leases[k]; known && l.lapses > s.local.now() {
		l.events += t.Cost
		shard.leases[k] = l
	}
}

// Return gives events back to this node's leases.
func (s *Leased) Return(takes []Take) {
	for i := range takes {
		s.giveBack(&takes[i])
	}
}

// makeRoom drops a few leases that have lapsed, and at the bound another in any case: what is lost with it Redis has
// counted as used, so that nobody gains by it.
func (s *leaseShard) makeRoom(now time.Duration) {
	n := sample
	full := len(s.leases) >= shardKeys
	for k, l := range s.leases {
		if n == 0 {
			break
		}
		n--
		if full || l.lapses <= now && l.denied <= now && !l.filling {
			delete(s.leases, k)
			full = false
		}
	}
}

// refill is a lease to fill up, by how many events.
type refill struct {
	key  hashed
	take Take
	want int
}

// refills is how many leases are filled up by one call of Redis.
const refills = 64

// refill fills leases up until Close, one call of Redis after another.
func (s *Leased) refill() {
	for {
		select {
		case <-s.closed:
			return
		case r := <-s.low:
			list := append(make([]refill, 0, refills), r)
			for len(list) < refills && len(s.low) > 0 {
				list = append(list, <-s.low)
			}
			s.fill(list)
		}
	}
}

func (s *Leased) fill(list []refill) {
	takes, want := make([]Take, len(list)), make([]int, len(list))
	for i, r := range list {
		takes[i], want[i] = r.take, r.want
	}
	if s.until.Load() == 0 {
		now := s.local.now()
		d, granted, err := s.shared.take(context.Background(), nil, nil, takes, want)
		if err == nil {
			for i, r := range list {
				s.keep(r.key, &takes[i], d[i], granted[i], true, now)
			}
			return
		}
		s.failed()
	}
	for _, r := range list {
		s.unclaim(r.key)
	}
}
