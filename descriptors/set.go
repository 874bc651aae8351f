package descriptors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/pace"
)

// Set is every service known at one time. It is immutable and safe for concurrent use.
type Set struct {
	services []*Service
	byName   map[protoreflect.FullName]*Service
	sources  []*source
	rules    *ruleSet
	// Pending says which sources have not been heard of yet, and why; services may be missing because of them.
	Pending []string
	// Warnings says what is odd but harmless, such as an HTTP rule for a method that no source has.
	Warnings []string
}

// Service is one gRPC service.
type Service struct {
	Descriptor protoreflect.ServiceDescriptor
	// Source is the name of the source it comes from.
	Source   string
	Methods  []*Method
	resolver *resolver
}

// Method is one method of a service.
type Method struct {
	Service    *Service
	Descriptor protoreflect.MethodDescriptor
	// FullMethod is "/package.Service/Method".
	FullMethod string
	// Bindings are its HTTP bindings, the additional ones after the first.
	Bindings []Binding
}

// Binding is one way to call a method over HTTP (google.api.HttpRule).
type Binding struct {
	HTTPMethod   string // "*" for any
	Template     string
	Body         string // a field, "*" for the whole message, "" for none
	ResponseBody string // a field, "" for the whole message
}

// Kind names the kind of method: unary, server stream, client stream or bidi stream.
func (m *Method) Kind() string {
	switch client, server := m.Descriptor.IsStreamingClient(), m.Descriptor.IsStreamingServer(); {
	case client && server:
		return "bidi stream"
	case client:
		return "client stream"
	case server:
		return "server stream"
	}
	return "unary"
}

// Resolver finds message types by name, for google.protobuf.Any: in the service's own source first, then in the
// others, then among the types every gateway knows.
func (s *Service) Resolver() Resolver { return s.resolver }

// Services returns every service, sorted by name. The caller must not change the slice.
func (s *Set) Services() []*Service { return s.services }

// Service returns the service called name, nil when the set has none.
func (s *Set) Service(name protoreflect.FullName) *Service { return s.byName[name] }

// with returns the set with other Pending: itself where they are the same.
func (s *Set) with(pending []string) *Set {
	if slices.Equal(s.Pending, pending) {
		return s
	}
	own := *s
	own.Pending = pending
	return &own
}

// newSet puts compiled sources together and gives their methods HTTP rules. Its errors are config.Errors.
func newSet(ctx context.Context, sources []*source, rules *ruleSet) (*Set, error) {
	s := &Set{byName: map[protoreflect.FullName]*Service{}, sources: sources, rules: rules}
	var errs config.Errors
	p := pace.Of(ctx)
	for _, src := range sources {
		r := newResolver(src, sources)
		for _, sd := range src.services {
			if other := s.byName[sd.FullName()]; other != nil {
				errs.Add(config.Position{}, fmt.Errorf("descriptors: service %s is in both %s and %s", sd.FullName(), other.Source, src.name))
				continue
			}
			service := &Service{Descriptor: sd, Source: src.name, resolver: r}
			for i := range sd.Methods().Len() {
				p.Step()
				md := sd.Methods().Get(i)
				m := &Method{Service: service, Descriptor: md, FullMethod: fmt.Sprintf("/%s/%s", sd.FullName(), md.Name())}
				var err error
				if m.Bindings, err = rules.bindings(src.name, md); err != nil {
					errs.Add(config.Position{}, err)
				}
				service.Methods = append(service.Methods, m)
			}
			s.byName[sd.FullName()] = service
			s.services = append(s.services, service)
		}
	}
	slices.SortFunc(s.services, func(a, b *Service) int { return cmp.Compare(a.Descriptor.FullName(), b.Descriptor.FullName()) })
	s.Warnings = rules.unused(s)
	return s, errs.Err()
}

// check reports what is wrong with the source by itself.
func (s *source) check(ctx context.Context, rules *ruleSet) error {
	if s.checked.Load() == rules {
		return nil
	}
	_, err := newSet(ctx, []*source{s}, rules)
	if err == nil {
		s.checked.Store(rules)
	}
	return err
}

// ServiceNames returns the names of the services in a serialized FileDescriptorSet, sorted, without compiling it.
func ServiceNames(raw []byte) ([]string, error) {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("descriptors: not a serialized google.protobuf.FileDescriptorSet: %w", err)
	}
	var names []string
	for _, f := range set.File {
		for _, s := range f.Service {
			names = append(names, strings.TrimPrefix(f.GetPackage()+"."+s.GetName(), "."))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Inspect compiles a serialized FileDescriptorSet by itself and returns its services. name is for errors.
func Inspect(name string, raw []byte) ([]*Service, error) {
	src, err := compileSet(name, raw)
	if err != nil {
		return nil, err
	}
	set, err := newSet(context.Background(), []*source{src}, &ruleSet{})
	if err != nil {
		return nil, err
	}
	return set.services, nil
}
