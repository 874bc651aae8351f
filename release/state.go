package release

import (
	"encoding/json"
	"strconv"
	"time"
)

// state is what has become of a variant since its configuration was first seen. Nodes agree on it by Redis: the later epoch
// counts, and in one epoch the earliest sight, the longest pause and the first rollback.
type state struct {
	epoch    int64 // one more with each reset
	seen     time.Time
	paused   time.Duration // of the ramp, so far
	rollback *RolledBack   // nil while it is not
}

// RolledBack says when and why a variant was rolled back.
type RolledBack struct {
	Time time.Time `json:"time"`
	// Reason is errors, p99 or asked_for, and Detail says more.
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
	// Node is who decided it.
	Node string `json:"node,omitempty"`
}

// The fields of a variant's hash in Redis; but for the first they are those of an epoch.
const (
	fieldEpoch    = "epoch"
	fieldSeen     = "seen"     // milliseconds since 1970
	fieldPaused   = "paused"   // milliseconds
	fieldRollback = "rollback" // a RolledBack in JSON
)

func (s *state) field(name string) string { return name + ":" + strconv.FormatInt(s.epoch, 10) }

// merge takes over what others know and this node does not, and returns what it is for the others to know. What is no
// state is passed over: it is written again.
func (s *state) merge(kept map[string]string) (tell map[string]string) {
	tell = map[string]string{}
	epoch, err := strconv.ParseInt(kept[fieldEpoch], 10, 64)
	switch {
	case err != nil || epoch < s.epoch:
		tell[fieldEpoch] = strconv.FormatInt(s.epoch, 10)
	case epoch > s.epoch:
		*s = state{epoch: epoch, seen: s.seen}
		if _, ok := milliseconds(kept[s.field(fieldSeen)]); ok {
			s.seen = time.Time{}
		}
	}
	if ms, ok := milliseconds(kept[s.field(fieldSeen)]); ok && (s.seen.IsZero() || ms <= s.seen.UnixMilli()) {
		s.seen = time.UnixMilli(ms)
	} else {
		tell[s.field(fieldSeen)] = strconv.FormatInt(s.seen.UnixMilli(), 10)
	}
	if ms, ok := milliseconds(kept[s.field(fieldPaused)]); ok && time.Duration(ms)*time.Millisecond >= s.paused {
		s.paused = time.Duration(ms) * time.Millisecond
	} else if s.paused > 0 {
		tell[s.field(fieldPaused)] = strconv.FormatInt(s.paused.Milliseconds(), 10)
	}
	var rollback RolledBack
	if text, ok := kept[s.field(fieldRollback)]; ok && json.Unmarshal([]byte(text), &rollback) == nil {
		s.rollback = &rollback
	} else if s.rollback != nil {
		raw, _ := json.Marshal(s.rollback) // strings and a time
		tell[s.field(fieldRollback)] = string(raw)
	}
	return tell
}

// milliseconds reads a number of them that a time.Duration has room for, too.
func milliseconds(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && n < 1<<43
}
