package openapi

import (
	"net/http"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder"
)

// fieldPath leads to a field through singular message fields.
type fieldPath = []protoreflect.FieldDescriptor

// call is one binding while it is described.
type call struct {
	*route
	*Binding
	path  *path
	vars  map[string]fieldPath // what the path's variables are for
	bound []fieldPath          // what does not come with the query
}

// binding adds a binding's operations, one for each of its HTTP methods that the path has none for yet.
func (r *route) binding(b *Binding) {
	t, err := routing.ParseTemplate(b.Rule.Template)
	if err != nil {
		return
	}
	c := &call{route: r, Binding: b, path: newPath(t), vars: map[string]fieldPath{}}
	input := b.Method.Descriptor.Input()
	for _, name := range t.Fields() {
		field, err := transcoder.ResolvePath(input, name)
		if err != nil {
			return
		}
		c.vars[name] = field
		c.bound = append(c.bound, field)
	}
	if fd := input.Fields().ByName(protoreflect.Name(b.Rule.Body)); fd != nil {
		c.bound = append(c.bound, fieldPath{fd})
	}
	shape := c.path.shape()
	if first := r.shapes[shape]; first != nil {
		c.path.rename(first)
	} else {
		r.shapes[shape] = c.path
	}
	item := r.doc.Paths.Get(c.path.String())
	if item == nil {
		item = &PathItem{}
		r.doc.Paths.Set(c.path.String(), item)
	}
	for _, method := range c.methods() {
		if place := item.operation(method); place == nil && item.Other.Get(method) == nil {
			item.Other.Set(method, c.operation())
		} else if place != nil && *place == nil {
			*place = c.operation()
		}
	}
}

// methods returns the HTTP methods to describe. A binding of any method is described by the one that is usual for it.
func (c *call) methods() []string {
	switch {
	case len(c.HTTPMethods) > 0:
		return c.HTTPMethods
	case c.Rule.HTTPMethod != "*":
		return []string{c.Rule.HTTPMethod}
	case c.Rule.Body != "":
		return []string{http.MethodPost}
	}
	return []string{http.MethodGet}
}

// operation returns the field of an HTTP method, nil where OpenAPI has none.
func (p *PathItem) operation(method string) **Operation {
	switch method {
	case http.MethodGet:
		return &p.Get
	case http.MethodPut:
		return &p.Put
	case http.MethodPost:
		return &p.Post
	case http.MethodDelete:
		return &p.Delete
	case http.MethodOptions:
		return &p.Options
	case http.MethodHead:
		return &p.Head
	case http.MethodPatch:
		return &p.Patch
	case http.MethodTrace:
		return &p.Trace
	}
	return nil
}

func (c *call) operation() *Operation {
	md := c.Method.Descriptor
	service := c.Method.Service.Descriptor
	c.tag(service)
	summary, description := summarize(comment(md))
	if summary == "" {
		summary = string(md.Name())
	}
	if c.Rule.HTTPMethod == "*" && len(c.HTTPMethods) == 0 {
		description = paragraphs(description, "Any HTTP method will do.")
	}
	o := &Operation{
		Tags:        []string{string(service.FullName())},
		Summary:     summary,
		Description: description,
		OperationID: c.operationID(md.FullName()),
		Parameters:  c.parameters(),
		RequestBody: c.requestBody(),
		Deprecated:  md.Options().(*descriptorpb.MethodOptions).GetDeprecated() || service.Options().(*descriptorpb.ServiceOptions).GetDeprecated(),
		Security:    c.security,
		GRPCMethod:  c.Method.FullMethod,
	}
	o.Responses.Set("200", c.response())
	for _, one := range c.failures() {
		o.Responses.Set(one.status, &Response{Ref: "#/components/responses/" + one.component})
	}
	return o
}

func (b *builder) tag(service protoreflect.ServiceDescriptor) {
	if b.tagged[service.FullName()] {
		return
	}
	b.tagged[service.FullName()] = true
	b.doc.Tags = append(b.doc.Tags, Tag{Name: string(service.FullName()), Description: comment(service)})
}

// parameters are those of the path and of the query. They are of the path item's operations each by itself: the same
// path may be another method's.
func (c *call) parameters() []*Parameter {
	var list []*Parameter
	for i := range c.path.segments {
		if s := &c.path.segments[i]; s.name != "" {
			list = append(list, c.pathParameter(s))
		}
	}
	if c.Rule.Body == "*" {
		return list
	}
	q := query{call: c, bound: c.bound}
	q.walk(c.Method.Descriptor.Input(), nil)
	return slices.Concat(list, q.list)
}
