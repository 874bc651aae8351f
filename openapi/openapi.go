package openapi

import (
	"crypto/sha256"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// API is what a document describes.
type API struct {
	Title       string
	Version     string
	Description string // CommonMark
	// Servers are base URLs; none is the one that the document itself comes from.
	Servers []string
	// Routes, those that win first: of two bindings that a caller could not tell apart in the document, the first is in it.
	Routes []Route
}

// Route is one route to gRPC services.
type Route struct {
	JSON codec.Options
	// Framing is how the route's streams stand in a body for clients that name no other.
	Framing transcoder.Framing
	// Forms says whether request messages may come as HTML forms.
	Forms transcoder.Forms
	// Auth is what the route asks of its callers, nil for nothing.
	Auth *auth.Policy
	// Limited says that the route has rate limits.
	Limited  bool
	Bindings []Binding
}

// Binding is one way to call a method.
type Binding struct {
	Method *descriptors.Method
	// Rule is the HTTP binding. For a method's own path it is POST with the whole message as the body.
	Rule descriptors.Binding
	// HTTPMethods are those that the route lets through; none for the rule's own.
	HTTPMethods []string
}

// builder makes one document.
type builder struct {
	doc     *Document
	schemas map[schemaKey]string // the names of components
	names   map[string]bool      // that are taken
	ids     map[string]bool      // operation ids that are taken
	shapes  map[string]*path
	tagged  map[protoreflect.FullName]bool
	first   variant // of the first route: its schemas have the plain names
	digests map[protoreflect.FileDescriptor][sha256.Size]byte
	pending []func() // make the components that are named and not made yet
	secured map[auth.Place]string
}

// Build makes the document of an API. It has every binding whose template parses, which compiled routes' all do.
func Build(api *API) *Document {
	b := &builder{
		doc: &Document{
			OpenAPI: "3.1.1",
			Info:    Info{Title: api.Title, Version: api.Version, Description: api.Description},
			Components: Components{
				Schemas: map[string]*Schema{}, Responses: map[string]*Response{}, SecuritySchemes: map[string]SecurityScheme{},
			},
		},
		schemas: map[schemaKey]string{}, names: map[string]bool{statusName: true, problemName: true}, ids: map[string]bool{}, shapes: map[string]*path{},
		tagged: map[protoreflect.FullName]bool{}, secured: map[auth.Place]string{},
		digests: map[protoreflect.FileDescriptor][sha256.Size]byte{},
	}
	servers := api.Servers
	if len(servers) == 0 {
		servers = []string{"/"}
	}
	for _, url := range servers {
		b.doc.Servers = append(b.doc.Servers, Server{URL: url})
	}
	for i := range api.Routes {
		if i == 0 {
			b.first = variantOf(&api.Routes[i].JSON)
		}
		r := &route{builder: b, Route: &api.Routes[i], variant: variantOf(&api.Routes[i].JSON)}
		r.security = b.security(r.Auth)
		for j := range r.Bindings {
			r.binding(&r.Bindings[j])
		}
	}
	for len(b.pending) > 0 {
		made := b.pending
		b.pending = nil
		for _, make := range made {
			make()
		}
	}
	return b.doc
}

// route is one route while its bindings are described.
type route struct {
	*builder
	*Route
	variant  variant
	security []map[string][]string
}

// variant is what of a route's JSON options changes schemas.
type variant struct {
	protoNames, enumNumbers, int64Numbers, unpopulated bool
}

func variantOf(o *codec.Options) variant {
	return variant{protoNames: o.ProtoNames, enumNumbers: o.EnumNumbers, int64Numbers: o.Int64Numbers, unpopulated: o.EmitUnpopulated}
}

// suffix tells the components of a route's schemas from those of the first route's.
func (v variant) suffix(first variant) string {
	s := ""
	add := func(mine, other bool, with, without string) {
		switch {
		case mine == other:
		case mine:
			s += with
		default:
			s += without
		}
	}
	add(v.protoNames, first.protoNames, ".proto-names", ".json-names")
	add(v.enumNumbers, first.enumNumbers, ".enum-numbers", ".enum-names")
	add(v.int64Numbers, first.int64Numbers, ".int64-numbers", ".int64-strings")
	add(v.unpopulated, first.unpopulated, ".unpopulated", ".populated")
	return s
}

// fieldName is the field's name in the route's JSON.
func (r *route) fieldName(fd protoreflect.FieldDescriptor) string {
	if r.variant.protoNames {
		return string(fd.Name())
	}
	return fd.JSONName()
}

// operationID returns an id for the next operation of a method: its full name, which no other method has, so that ids
// stay when others come and go. A binding after the first gets a number behind a dot, which no name can be.
func (b *builder) operationID(method protoreflect.FullName) string {
	id := string(method)
	for n := 2; b.ids[id]; n++ {
		id = string(method) + "." + strconv.Itoa(n)
	}
	b.ids[id] = true
	return id
}
