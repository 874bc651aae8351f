package descriptors

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"
)

// checkReferences reports the first type that set refers to and does not have, by the place that refers to it. It says
// better than protodesc does why a set does not compile.
func checkReferences(set *descriptorpb.FileDescriptorSet) error {
	r := references{}
	for _, f := range set.File {
		scope := prefix(f.GetPackage())
		r.enums(scope, f.EnumType)
		r.messages(scope, f.MessageType)
	}
	for _, f := range set.File {
		scope := prefix(f.GetPackage())
		if err := r.checkMessages(scope, f.MessageType); err != nil {
			return err
		}
		if err := r.checkExtensions(scope, f.Extension); err != nil {
			return err
		}
		for _, s := range f.Service {
			for _, m := range s.Method {
				for _, name := range [...]string{m.GetInputType(), m.GetOutputType()} {
					if err := r.check(name); err != nil {
						return fmt.Errorf("method %s%s.%s: %w", scope, s.GetName(), m.GetName(), err)
					}
				}
			}
		}
	}
	return nil
}

// references is the full names of the messages and enums of a set.
type references map[string]bool

func prefix(pkg string) string {
	if pkg == "" {
		return ""
	}
	return pkg + "."
}

func (r references) enums(scope string, list []*descriptorpb.EnumDescriptorProto) {
	for _, e := range list {
		r[scope+e.GetName()] = true
	}
}

func (r references) messages(scope string, list []*descriptorpb.DescriptorProto) {
	for _, m := range list {
		name := scope + m.GetName()
		r[name] = true
		r.enums(name+".", m.EnumType)
		r.messages(name+".", m.NestedType)
	}
}

func (r references) checkMessages(scope string, list []*descriptorpb.DescriptorProto) error {
	for _, m := range list {
		name := scope + m.GetName()
		for _, f := range m.Field {
			if err := r.check(f.GetTypeName()); err != nil {
				return fmt.Errorf("message %s, field %d: %w", name, f.GetNumber(), err)
			}
		}
		if err := r.checkExtensions(name+".", m.Extension); err != nil {
			return err
		}
		if err := r.checkMessages(name+".", m.NestedType); err != nil {
			return err
		}
	}
	return nil
}

func (r references) checkExtensions(scope string, list []*descriptorpb.FieldDescriptorProto) error {
	for _, f := range list {
		for _, name := range [...]string{f.GetExtendee(), f.GetTypeName()} {
			if err := r.check(name); err != nil {
				return fmt.Errorf("extension %s%s: %w", scope, f.GetName(), err)
			}
		}
	}
	return nil
}

// check looks at absolute names only, as compilers write them; protodesc resolves the others.
func (r references) check(name string) error {
	if full, ok := strings.CutPrefix(name, "."); ok && !r[full] {
		return fmt.Errorf("type %q is not in the set", full)
	}
	return nil
}
