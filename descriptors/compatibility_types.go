package descriptors

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

func (c *comparison) messages(list protoreflect.MessageDescriptors) {
	for i := range list.Len() {
		if old := list.Get(i); !old.IsMapEntry() {
			c.message(old)
			c.messages(old.Messages())
			c.enums(old.Enums())
			c.extensions(old.Extensions())
		}
	}
}

func (c *comparison) message(old protoreflect.MessageDescriptor) {
	c.pace.Step()
	found, _ := c.new.files.FindDescriptorByName(old.FullName())
	new, ok := found.(protoreflect.MessageDescriptor)
	if !ok {
		c.add(MessageRemoved, old.FullName(), "the message is gone")
		return
	}
	for i := range old.Fields().Len() {
		c.field(old.Fields().Get(i), new.Fields())
	}
	for i := range new.Fields().Len() {
		f := new.Fields().Get(i)
		if f.Cardinality() == protoreflect.Required && old.Fields().ByNumber(f.Number()) == nil {
			c.add(FieldRequired, f.FullName(), "the field is new, and required")
		}
	}
}

// field finds a field by its number, as the wire does, and by its name, as JSON does: both have to lead to the same one.
func (c *comparison) field(old protoreflect.FieldDescriptor, fields protoreflect.FieldDescriptors) {
	named := fields.ByName(old.Name())
	if named != nil && named.Number() != old.Number() {
		c.add(FieldNumberChanged, old.FullName(), "its number was %d, and is %d", old.Number(), named.Number())
		c.sameField(old, named)
		return
	}
	numbered := fields.ByNumber(old.Number())
	if numbered == nil {
		c.add(FieldRemoved, old.FullName(), "field %d is gone", old.Number())
		return
	}
	if numbered.Name() != old.Name() {
		c.add(FieldNameChanged, old.FullName(), "field %d was called %s, and is called %s", old.Number(), old.Name(), numbered.Name())
	}
	c.sameField(old, numbered)
}

func (c *comparison) sameField(old, new protoreflect.FieldDescriptor) {
	// Another name has another JSON name, unless that was chosen: one break is enough.
	if old.Name() == new.Name() && old.JSONName() != new.JSONName() {
		c.add(FieldJSONNameChanged, old.FullName(), "its JSON name was %s, and is %s", old.JSONName(), new.JSONName())
	}
	if was, is := labelOf(old), labelOf(new); was != is {
		c.add(FieldLabelChanged, old.FullName(), "it was %s, and is %s", was, is)
	} else if was, is := typeOf(old), typeOf(new); was != is {
		c.add(FieldTypeChanged, old.FullName(), "its type was %s, and is %s", was, is)
	}
	if was, is := oneofOf(old), oneofOf(new); was != is {
		c.add(FieldOneofChanged, old.FullName(), "it was in %s, and is in %s", was, is)
	}
}

// labelOf leaves presence out: it changes neither the wire nor what JSON is taken.
func labelOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "a map"
	case f.IsList():
		return "repeated"
	case f.Cardinality() == protoreflect.Required:
		return "required"
	}
	return "singular"
}

func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeOf(f.MapKey()), typeOf(f.MapValue()))
	case f.Kind() == protoreflect.GroupKind:
		return "group " + string(f.Message().FullName())
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func oneofOf(f protoreflect.FieldDescriptor) string {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return "the oneof " + string(o.Name())
	}
	return "no oneof"
}

// extensions compares those of messages that callers send; options of descriptors are for tools.
func (c *comparison) extensions(list protoreflect.ExtensionDescriptors) {
	for i := range list.Len() {
		old := list.Get(i)
		if isCommon(old.ContainingMessage().ParentFile().Path()) {
			continue
		}
		found, _ := c.new.files.FindDescriptorByName(old.FullName())
		new, ok := found.(protoreflect.ExtensionDescriptor)
		switch {
		case !ok || new.ContainingMessage().FullName() != old.ContainingMessage().FullName():
			c.add(FieldRemoved, old.FullName(), "extension %d of %s is gone", old.Number(), old.ContainingMessage().FullName())
			continue
		case new.Number() != old.Number():
			c.add(FieldNumberChanged, old.FullName(), "its number was %d, and is %d", old.Number(), new.Number())
		}
		c.sameField(old, new)
	}
}

func (c *comparison) enums(list protoreflect.EnumDescriptors) {
	for i := range list.Len() {
		old := list.Get(i)
		found, _ := c.new.files.FindDescriptorByName(old.FullName())
		new, ok := found.(protoreflect.EnumDescriptor)
		if !ok {
			c.add(EnumRemoved, old.FullName(), "the enum is gone")
			continue
		}
		for j := range old.Values().Len() {
			c.enumValue(old.Values().Get(j), new.Values())
		}
	}
}

// enumValue looks for the value by its name, which is its JSON form. Its full name is that of a sibling of the enum.
func (c *comparison) enumValue(old protoreflect.EnumValueDescriptor, values protoreflect.EnumValueDescriptors) {
	subject := old.Parent().FullName().Append(old.Name())
	switch new := values.ByName(old.Name()); {
	case new == nil:
		c.add(EnumValueRemoved, subject, "the value %d is gone, or has another name", old.Number())
	case new.Number() != old.Number():
		c.add(EnumValueNumberChanged, subject, "its number was %d, and is %d", old.Number(), new.Number())
	}
}
