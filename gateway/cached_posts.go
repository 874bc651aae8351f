package gateway

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/crossgate/crossgate/cache"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

// maxAsked is the longest message that is asked by; the answers to longer ones are not kept.
const maxAsked = 64 << 10

// posted are requests in JSON, by POST, for a method without side effects.
type posted struct{ timeout time.Duration }

func (p *posted) answer(c *cached, x *exchange) {
	timeout, err := transcoder.CallTimeout(x.r.Header, p.timeout)
	// A form may have been sent by a page of another origin; what is made of that is not the cache's.
	if err != nil || x.r.ContentLength > maxAsked || x.r.Header["Upgrade"] != nil || transcoder.IsForm(x.r) {
		c.serve(x)
		return
	}
	deadline := deadlineIn(timeout)
	body := transcoder.TimedBody{Request: x.r, Writer: &x.w, Deadline: deadline}
	message, whole, err := readMessage(x.message[:0], &body)
	body.Release()
	if x.message = message; !whole {
		x.r.Body = again(message, x.r.Body, err)
		c.serve(x)
		return
	}
	if e := c.ask(x, &x.w, x.r, cache.Request{Message: message, Deadline: deadline}); e != nil {
		x.fail(e)
	}
}

// posted returns what of a method's answers is kept besides those to GET: nil for nothing, since it may have side effects.
func (g *grpcRoute) posted(m *descriptors.Method) *posted {
	if g.kept == nil || streams(m) || !rpc.HasGet(m.Descriptor) && !slices.ContainsFunc(g.cfg.Cache.Methods, func(s string) bool { return names(s, m) }) {
		return nil
	}
	return &posted{g.cfg.Timeout.Std()}
}

// warnOfMethods says which of the methods that the route's cache names can have no answers there.
func (g *grpcRoute) warnOfMethods() {
	if g.kept == nil {
		return
	}
	for _, selector := range g.cfg.Cache.Methods {
		if !slices.ContainsFunc(g.set.Services(), func(s *descriptors.Service) bool {
			return slices.ContainsFunc(s.Methods, func(m *descriptors.Method) bool { return !streams(m) && names(selector, m) })
		}) {
			g.warnings = append(g.warnings, fmt.Sprintf("%s: route %s: cache: methods: %s: no method of one message each way that has been loaded is called so", g.cfg.Cache.Pos, g.cfg.Name, selector))
		}
	}
}

// names reports whether a selector names a method.
func names(selector string, m *descriptors.Method) bool {
	return descriptors.Selects(selector, string(m.Descriptor.FullName()))
}

// readMessage appends a body to dst. whole says that it has come to its end, maxAsked bytes long at the most.
func readMessage(dst []byte, body io.Reader) (message []byte, whole bool, err error) {
	for len(dst) <= maxAsked {
		if cap(dst) == len(dst) {
			dst = append(make([]byte, 0, max(512, 2*cap(dst))), dst...)
		}
		n, err := body.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case errors.Is(err, io.EOF):
			return dst, len(dst) <= maxAsked, nil
		case err != nil:
			return dst, false, err
		}
	}
	return dst, false, nil
}

// keepMessage is the longest message whose memory an exchange keeps for the next one.
const keepMessage = 16 << 10
