package cache

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Purge names answers to forget: those with one of the tags, those of one of the URLs, and those whose URL begins with one of
// the prefixes. A URL has a host, as https://shop.example/a?b, or begins with its path, for every host; its scheme makes no
// difference.
type Purge struct {
	Tags, URLs, Prefixes []string
	Everything           bool
}

// ErrPurge is what a purge that names nothing, or a URL that is none, is.
var ErrPurge = errors.New("purge")

// purges returns what a Purge consists of.
func (p *Purge) purges() ([]purge, error) {
	var list []purge
	if p.Everything {
		list = append(list, purge{kind: ofEverything})
	}
	for _, tag := range p.Tags {
		if tag == "" || strings.ContainsAny(tag, ", \t") {
			return nil, fmt.Errorf("%w: %q is no tag", ErrPurge, tag)
		}
		list = append(list, purge{ofTag, tag})
	}
	for kind, urls := range map[purgeKind][]string{ofURI: p.URLs, ofPrefix: p.Prefixes} {
		for _, text := range urls {
			what, err := purgedURI(text, kind == ofURI)
			if err != nil {
				return nil, err
			}
			list = append(list, purge{kind, what})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: names nothing; expected tags, urls, url_prefixes or everything", ErrPurge)
	}
	return list, nil
}

// purgedURI is a URL as answers have it.
func purgedURI(text string, whole bool) (string, error) {
	rest := text
	for _, scheme := range []string{"http://", "https://", "//"} {
		rest = strings.TrimPrefix(rest, scheme)
	}
	if rest == text && !strings.HasPrefix(text, "/") {
		return "", fmt.Errorf("%w: %q is no URL; expected https://host/path or /path", ErrPurge, text)
	}
	if rest == text {
		return text, nil // a path
	}
	host, path, found := strings.Cut(rest, "/")
	if host == "" {
		return "", fmt.Errorf("%w: %q has no host", ErrPurge, text)
	}
	host = strings.ToLower(host)
	if found || whole {
		host += "/"
	}
	return host + path, nil
}

// purgeKind is what a purge goes by.
type purgeKind byte

const (
	ofEverything purgeKind = 'a'
	ofTag        purgeKind = 't'
	ofURI        purgeKind = 'u'
	ofPrefix     purgeKind = 'p'
)

// purge is one thing that answers to forget have in common.
type purge struct {
	kind  purgeKind
	value string
}

func (p *purge) covers(uri string, tags []string) bool {
	if (p.kind == ofURI || p.kind == ofPrefix) && strings.HasPrefix(p.value, "/") {
		uri = uri[max(0, strings.IndexByte(uri, '/')):]
	}
	switch p.kind {
	case ofURI:
		return uri == p.value
	case ofPrefix:
		return strings.HasPrefix(uri, p.value)
	case ofTag:
		return slices.Contains(tags, p.value)
	}
	return p.kind == ofEverything
}

// Purge forgets answers here, and tells the nodes that share the Redis. It returns how many URLs were forgotten here. An error
// that is no ErrPurge says that the others could not be told.
func (s *Store) Purge(ctx context.Context, p Purge) (int, error) {
	list, err := p.purges()
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range list {
		n += s.forget(list[i])
	}
	s.metrics.CachePurges.Add(float64(n))
	return n, s.shared.tell(ctx, purgeTimeout, list...)
}

// forget drops what a purge covers from memory, also what is being fetched.
func (s *Store) forget(p purge) int {
	s.purges.add(p)
	var gone []uint64
	if p.kind == ofURI && !strings.HasPrefix(p.value, "/") {
		gone = s.index.of(p.value)
	} else {
		for hash, r := range s.memory.All() {
			if r.coveredBy(&p) {
				gone = append(gone, hash)
			}
		}
	}
	for _, hash := range gone {
		s.memory.Invalidate(hash)
	}
	return len(gone)
}

func (r *resource) coveredBy(p *purge) bool {
	if p.kind != ofTag {
		return p.covers(r.uri, nil)
	}
	return slices.ContainsFunc(r.variants, func(e *entry) bool { return p.covers(r.uri, e.tags) })
}

// Invalidate forgets what there is of a URI, whatever it was chosen by: an unsafe request to it has succeeded (RFC 9111
// section 4.4). Nodes that share answers in Redis are told where the policy keeps them there.
func (p *Policy) Invalidate(ctx context.Context, host, path, query string) {
	one := purge{ofURI, uri(host, path, query)}
	p.store.forget(one)
	if p.inRedis {
		_ = p.store.shared.tell(ctx, tellTimeout, one) // the answers' own lifetime is what is left where that fails
	}
}

// InvalidateReference does the same for what a Location or Content-Location of the answer names, where that is on the same
// host.
func (p *Policy) InvalidateReference(ctx context.Context, host, path, reference string) {
	to, err := url.Parse(reference)
	if err != nil || to.Host != "" && !strings.EqualFold(to.Host, host) {
		return
	}
	to = (&url.URL{Path: path}).ResolveReference(to)
	p.Invalidate(ctx, host, to.EscapedPath(), to.RawQuery)
}

// purgeLog remembers the newest purges: an answer that was asked for before one, and came after it, is not kept.
type purgeLog struct {
	mu     sync.Mutex
	count  uint64
	newest []purge // a ring, once it is full
}

// remembered is how many purges are.
const remembered = 4096

func (l *purgeLog) add(p purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.newest) < remembered {
		l.newest = append(l.newest, p)
	} else {
		l.newest[l.count%remembered] = p
	}
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
	if l.count-since > remembered {
		return true
	}
	for ; since < l.count; since++ {
		if l.newest[since%remembered].covers(uri, tags) {
			return true
		}
	}
	return false
}
