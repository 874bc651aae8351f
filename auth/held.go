package auth

import (
	"net/http"
	"sync/atomic"
	"time"
)

// held counts the configurations that hold a thing open: a reload carries it over when nothing about it has changed.
type held struct{ holders atomic.Int32 }

func (h *held) hold() { h.holders.Add(1) }

// letGo reports whether nobody holds the thing any more.
func (h *held) letGo() bool { return h.holders.Add(-1) == 0 }

// again returns what one more configuration holds.
func again[T interface{ hold() }](of T) T {
	of.hold()
	return of
}

// newClient returns a client of one endpoint with connections of its own, so that they can be closed without those of
// others. It follows no redirects.
func newClient(timeout time.Duration, idle int) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: idle, MaxIdleConnsPerHost: idle,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}
