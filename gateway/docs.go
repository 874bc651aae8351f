package gateway

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/openapi"
	"github.com/crossgate/crossgate/openapi/page"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/telemetry"
)

// described is a gRPC route as documentation has it.
type described struct {
	name       string
	hosts      []string
	conditions int // on headers
	api        openapi.Route
}

// docs is the documentation that one route serves. Documents are made when they are asked for the first time, each once
// for a snapshot.
type docs struct {
	config *config.DocsRoute
	routes []*described

	mu    sync.Mutex
	views map[string]*view // by the routes that are in them
}

// view is the document for callers by one host name, or by several that reach the same routes.
type view struct {
	once sync.Once
	file staticFile
	err  error
}

// docs adds the rules of a route that serves documentation. What it documents is known once all routes are compiled.
func (c *compiler) docs(cfg *config.Route, policy *admission.Policy, r *route) {
	d := &docs{config: cfg.Docs, views: map[string]*view{}}
	c.documented = append(c.documented, d)
	add := func(template *routing.Template, err error, calls string, serve func(*exchange)) {
		if err != nil {
			c.errs.Add(cfg.Docs.Pos, fmt.Errorf("route %s: %w", cfg.Name, err))
			return
		}
		t := &target{route: r, kind: "docs", protocol: telemetry.REST, calls: calls, serve: serve}
		c.add(cfg, policy, t, []string{http.MethodGet}, template, calls)
	}
	template, err := routing.ExactPath(cfg.Docs.OpenAPI)
	add(template, err, "docs:openapi", d.serve)
	if cfg.Docs.Page == "off" {
		return
	}
	html, err := page.HTML(cfg.Docs.Title, cfg.Docs.Page, cfg.Docs.OpenAPI)
	if err != nil {
		c.errs.Add(cfg.Docs.Pos, fmt.Errorf("route %s: page: %w", cfg.Name, err))
		return
	}
	document := newStaticFile("text/html; charset=utf-8", html)
	document.header["Content-Security-Policy"] = []string{page.Policy(cfg.Docs.Servers)}
	document.header["Referrer-Policy"] = []string{"no-referrer"}
	template, err = routing.ExactPath(cfg.Docs.Page)
	add(template, err, "docs:page", document.serve)
	template, err = routing.PathPrefix(cfg.Docs.Page + "/")
	add(template, err, "docs:page", servePageFiles(cfg.Docs.Page+"/"))
}

// servePageFiles answers with the files below a page.
func servePageFiles(prefix string) func(*exchange) {
	files := map[string]staticFile{}
	for _, f := range page.Files() {
		file := newStaticFile(f.Type, f.Content)
		// The page asks for each by a URL with its digest.
		file.header["Cache-Control"] = []string{"private, max-age=31536000, immutable"}
		files[prefix+f.Name] = file
	}
	return func(x *exchange) {
		file, ok := files[x.request.Path]
		if !ok {
			x.fail(fault.New(fault.NoRoute, "the page has no such file"))
			return
		}
		file.serve(x)
	}
}

// describe gives a docs route the routes to describe: those that win over others first, as far as OpenAPI can tell them
// apart.
func (d *docs) describe(all []*described) {
	for _, r := range all {
		if len(d.config.Routes) == 0 || slices.Contains(d.config.Routes, r.name) {
			d.routes = append(d.routes, r)
		}
	}
}

// serve answers with the document for the host that the caller has come to.
func (d *docs) serve(x *exchange) {
	v := d.view(x.request.Host)
	if v.err != nil {
		x.fail(&fault.Error{Reason: fault.Internal, Message: "the document could not be made", Cause: v.err})
		return
	}
	v.file.serve(x)
}

func (d *docs) view(host string) *view {
	routes, key := reached(d.routes, host)
	d.mu.Lock()
	v := d.views[key]
	if v == nil {
		// A host reaches the routes that name it, those of the suffixes it ends with, and those of any: there are no more
		// views than hosts in the configuration, and one.
		v = &view{}
		d.views[key] = v
	}
	d.mu.Unlock()
	v.once.Do(func() {
		var text []byte
		if text, v.err = document(d.config, routes); v.err == nil {
			v.file = newStaticFile("application/json", text)
		}
	})
	return v
}

// reached returns the routes that requests for a host may be for, in the order in which they win (see package routing),
// and a key of which they are.
func reached(all []*described, host string) ([]*described, string) {
	type ranked struct {
		*described
		index, rank int
	}
	var list []ranked
	for i, r := range all {
		if rank := routing.HostRank(r.hosts, host); rank >= 0 {
			list = append(list, ranked{r, i, rank})
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int {
		// A route with conditions on headers wins over one without, and is yet the one that fewer callers see.
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.conditions, b.conditions))
	})
	var routes []*described
	var key []byte
	for _, r := range list {
		routes = append(routes, r.described)
		key = fmt.Appendf(key, "%d ", r.index)
	}
	return routes, string(key)
}

// document makes an OpenAPI document.
func document(cfg *config.DocsRoute, routes []*described) (text []byte, err error) {
	// Descriptors come from outside; what is odd about them must not leave a view half made.
	defer func() {
		if r := recover(); r != nil {
			text, err = nil, fmt.Errorf("openapi: %v", r)
		}
	}()
	api := &openapi.API{Title: cfg.Title, Version: cfg.Version, Description: cfg.Description, Servers: cfg.Servers}
	for _, r := range routes {
		api.Routes = append(api.Routes, r.api)
	}
	return openapi.Build(api).AppendJSON(nil)
}

// openAPI makes the document of all gRPC routes, or of those that a host reaches, for who runs the gateway. Its title
// and the like are those of the first docs route.
func (s *Snapshot) openAPI(host string) ([]byte, error) {
	cfg := &config.DocsRoute{Title: "API", Version: "1"}
	for i := range s.config.Routes {
		if d := s.config.Routes[i].Docs; d != nil {
			cfg = d
			break
		}
	}
	routes := s.described
	if host != "" {
		routes, _ = reached(routes, host)
	}
	return document(cfg, routes)
}

// staticFile answers with bytes that do not change.
type staticFile struct {
	header  http.Header
	content []byte
}

func newStaticFile(contentType string, content []byte) staticFile {
	sum := sha256.Sum256(content)
	return staticFile{content: content, header: http.Header{
		"Content-Type": {contentType},
		"Etag":         {`"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`},
		// The route may ask for credentials; and what is here may change with the next snapshot.
		"Cache-Control":          {"private, no-cache"},
		"X-Content-Type-Options": {"nosniff"},
	}}
}

// serve answers conditional requests too (RFC 9110 section 13).
func (f *staticFile) serve(x *exchange) {
	h := x.w.Header()
	for name, values := range f.header {
		h[name] = values
	}
	http.ServeContent(&x.w, x.r, "", time.Time{}, bytes.NewReader(f.content))
}
