package cache

import (
	"slices"
	"strings"
	"sync"
)

// purge names answers to forget. What is set must hold.
type purge struct {
	uri    string
	prefix string // of the URI
	tag    string
}

func (p *purge) covers(uri string, tags []string) bool {
	switch {
	case p.uri != "":
		return uri == p.uri
	case p.prefix != "":
		return strings.HasPrefix(uri, p.prefix)
	case p.tag != "":
		return slices.Contains(tags, p.tag)
	}
	return true
}

// purgeLog remembers the newest purges: an answer that was asked for before one, and came after it, is not kept.
type purgeLog struct {
	mu     sync.Mutex
	count  uint64
	newest [256]purge // a ring
}

func (l *purgeLog) add(p purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest[l.count%uint64(len(l.newest))] = p
	l.count++
}

// now returns where the log stands.
func (l *purgeLog) now() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// hit reports whether a purge since then covers an answer. One that is not remembered any more may have.
func (l *purgeLog) hit(since uint64, uri string, tags []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count-since > uint64(len(l.newest)) {
		return true
	}
	for ; since < l.count; since++ {
		if l.newest[since%uint64(len(l.newest))].covers(uri, tags) {
			return true
		}
	}
	return false
}
