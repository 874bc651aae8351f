package descriptors

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Resolver finds types by name.
type Resolver interface {
	FindMessageByName(protoreflect.FullName) (protoreflect.MessageType, error)
	FindMessageByURL(url string) (protoreflect.MessageType, error)
	FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error)
	FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error)
}

// resolver asks several resolvers in turn.
type resolver struct{ chain []Resolver }

func newResolver(own *source, all []*source) *resolver {
	r := &resolver{chain: []Resolver{own.types}}
	for _, src := range all {
		if src != own {
			r.chain = append(r.chain, src.types)
		}
	}
	r.chain = append(r.chain, protoregistry.GlobalTypes)
	return r
}

func (r *resolver) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	return find(r, func(in Resolver) (protoreflect.MessageType, error) { return in.FindMessageByName(name) })
}

func (r *resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return find(r, func(in Resolver) (protoreflect.MessageType, error) { return in.FindMessageByURL(url) })
}

func (r *resolver) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return find(r, func(in Resolver) (protoreflect.ExtensionType, error) { return in.FindExtensionByName(name) })
}

func (r *resolver) FindExtensionByNumber(message protoreflect.FullName, number protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return find(r, func(in Resolver) (protoreflect.ExtensionType, error) {
		return in.FindExtensionByNumber(message, number)
	})
}

func find[T any](r *resolver, ask func(Resolver) (T, error)) (T, error) {
	for _, in := range r.chain {
		if found, err := ask(in); err == nil {
			return found, nil
		}
	}
	var none T
	return none, protoregistry.NotFound
}
