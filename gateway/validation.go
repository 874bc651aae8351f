package gateway

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/transcoder/validation"
)

// validation returns what the requests of a method must hold to: nil where the route does not ask for it, or their type has no
// rules. ok is false where a rule is broken, which is reported once for each message.
func (g *grpcRoute) validation(m *descriptors.Method) (r *validation.Rules, ok bool) {
	if !g.cfg.GRPC.Validate {
		return nil, true
	}
	source := m.Service.Resolver()
	c := g.validators[source]
	if c == nil {
		c = validation.NewCompiler(source, g.inputs(source))
		g.validators[source] = c
	}
	r, err := c.Compile(m.Descriptor.Input())
	if err == nil {
		return r, true
	}
	if text := err.Error(); !g.brokenRules[text] {
		g.brokenRules[text] = true
		g.errs.Add(g.cfg.GRPC.Pos, fmt.Errorf("route %s: %w", g.cfg.Name, err))
	}
	return nil, false
}

// inputs returns what the methods of a source take.
func (c *compiler) inputs(source descriptors.Resolver) []protoreflect.MessageDescriptor {
	var list []protoreflect.MessageDescriptor
	for _, s := range c.set.Services() {
		if s.Resolver() != source {
			continue
		}
		for _, m := range s.Methods {
			list = append(list, m.Descriptor.Input())
		}
	}
	return list
}
