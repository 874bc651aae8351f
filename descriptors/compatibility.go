package descriptors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/pace"
)

// BreakKind names a kind of change. It never changes its meaning: programs may look at it.
type BreakKind string

// The kinds of change that a caller of the old version may not survive.
const (
	ServiceRemoved         BreakKind = "SERVICE_REMOVED"
	MethodRemoved          BreakKind = "METHOD_REMOVED"
	MethodInputChanged     BreakKind = "METHOD_INPUT_CHANGED"
	MethodOutputChanged    BreakKind = "METHOD_OUTPUT_CHANGED"
	MethodStreamingChanged BreakKind = "METHOD_STREAMING_CHANGED"
	BindingRemoved         BreakKind = "BINDING_REMOVED"
	BindingChanged         BreakKind = "BINDING_CHANGED"
	MessageRemoved         BreakKind = "MESSAGE_REMOVED"
	FieldRemoved           BreakKind = "FIELD_REMOVED"
	FieldNumberChanged     BreakKind = "FIELD_NUMBER_CHANGED"
	FieldNameChanged       BreakKind = "FIELD_NAME_CHANGED"
	FieldJSONNameChanged   BreakKind = "FIELD_JSON_NAME_CHANGED"
	FieldTypeChanged       BreakKind = "FIELD_TYPE_CHANGED"
	FieldLabelChanged      BreakKind = "FIELD_LABEL_CHANGED"
	FieldOneofChanged      BreakKind = "FIELD_ONEOF_CHANGED"
	FieldRequired          BreakKind = "FIELD_REQUIRED"
	EnumRemoved            BreakKind = "ENUM_REMOVED"
	EnumValueRemoved       BreakKind = "ENUM_VALUE_REMOVED"
	EnumValueNumberChanged BreakKind = "ENUM_VALUE_NUMBER_CHANGED"
)

// Break is one change that a caller of the old version may not survive, by gRPC or by JSON.
type Break struct {
	Kind BreakKind
	// Subject is the full name of what has changed, in the old version.
	Subject string
	// Description says what was and what is.
	Description string
}

func (b Break) String() string { return fmt.Sprintf("%s %s: %s", b.Kind, b.Subject, b.Description) }

// Compare returns what a new version of a set breaks for the callers of the old one, sorted by subject. Both are
// serialized FileDescriptorSets. What stands in other files than before is compared by its full name; google/protobuf,
// google/api, google/rpc and buf/validate are nobody's to change, and not compared.
func Compare(old, new []byte) ([]Break, error) {
	before, err := compileSet("the old set", old)
	if err != nil {
		return nil, err
	}
	after, err := compileSet("the new set", new)
	if err != nil {
		return nil, err
	}
	return compare(context.Background(), before, after, &ruleSet{})
}

// compare takes the HTTP rules of the configuration for both versions.
func compare(ctx context.Context, old, new *source, rules *ruleSet) ([]Break, error) {
	before, err := newSet(ctx, []*source{old}, rules)
	if err != nil {
		return nil, err
	}
	after, err := newSet(ctx, []*source{new}, rules)
	if err != nil {
		return nil, err
	}
	c := &comparison{pace: pace.Of(ctx), new: new, services: after}
	for _, s := range before.services {
		c.service(s)
	}
	old.files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !isCommon(f.Path()) {
			c.messages(f.Messages())
			c.enums(f.Enums())
			c.extensions(f.Extensions())
		}
		return true
	})
	slices.SortStableFunc(c.breaks, func(a, b Break) int { return cmp.Compare(a.Subject, b.Subject) })
	return c.breaks, nil
}

// isCommon reports files that sets bring along and do not own.
func isCommon(path string) bool {
	for _, folder := range []string{"google/protobuf/", "google/api/", "google/rpc/", "buf/validate/"} {
		if strings.HasPrefix(path, folder) {
			return true
		}
	}
	return false
}

// comparison collects what breaks.
type comparison struct {
	pace     *pace.Pace
	new      *source
	services *Set
	breaks   []Break
}

func (c *comparison) add(kind BreakKind, subject protoreflect.FullName, format string, args ...any) {
	c.breaks = append(c.breaks, Break{kind, string(subject), fmt.Sprintf(format, args...)})
}

func (c *comparison) service(old *Service) {
	name := old.Descriptor.FullName()
	s := c.services.Service(name)
	if s == nil {
		c.add(ServiceRemoved, name, "the service is gone")
		return
	}
	for _, m := range old.Methods {
		at := slices.IndexFunc(s.Methods, func(n *Method) bool { return n.Descriptor.Name() == m.Descriptor.Name() })
		if at < 0 {
			c.add(MethodRemoved, m.Descriptor.FullName(), "the method is gone")
			continue
		}
		c.method(m, s.Methods[at])
	}
}

func (c *comparison) method(old, new *Method) {
	name := old.Descriptor.FullName()
	if was, is := old.Descriptor.Input().FullName(), new.Descriptor.Input().FullName(); was != is {
		c.add(MethodInputChanged, name, "it took %s, and takes %s", was, is)
	}
	if was, is := old.Descriptor.Output().FullName(), new.Descriptor.Output().FullName(); was != is {
		c.add(MethodOutputChanged, name, "it answered %s, and answers %s", was, is)
	}
	if old.Kind() != new.Kind() {
		c.add(MethodStreamingChanged, name, "it was a %s, and is a %s", old.Kind(), new.Kind())
	}
	for _, b := range old.Bindings {
		at := slices.IndexFunc(new.Bindings, func(n Binding) bool {
			return shape(n.Template) == shape(b.Template) && (n.HTTPMethod == b.HTTPMethod || n.HTTPMethod == "*")
		})
		if at < 0 {
			c.add(BindingRemoved, name, "%s %s is gone", b.HTTPMethod, b.Template)
			continue
		}
		if n := new.Bindings[at]; n.Body != b.Body {
			c.add(BindingChanged, name, "the body of %s %s was %s, and is %s", b.HTTPMethod, b.Template, part(b.Body, "none"), part(n.Body, "none"))
		}
		if n := new.Bindings[at]; n.ResponseBody != b.ResponseBody {
			c.add(BindingChanged, name, "the answer of %s %s was %s, and is %s", b.HTTPMethod, b.Template,
				part(b.ResponseBody, "the whole message"), part(n.ResponseBody, "the whole message"))
		}
	}
}

// shape is what paths a template takes: which field a variable is for is the gateway's business alone.
func shape(template string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		var variable string
		variable, template, _ = strings.Cut(rest, "}")
		if _, segments, has := strings.Cut(variable, "="); has {
			b.WriteString(segments)
		} else {
			b.WriteByte('*')
		}
	}
}

// part is how a description names a body.
func part(field, none string) string {
	switch field {
	case "":
		return none
	case "*":
		return "the whole message"
	}
	return "the field " + field
}
