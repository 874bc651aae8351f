package codec

import (
	"bytes"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// bareInt64 takes the quotes off the integers of 64 bits in text, the JSON of a message md by protojson, which has no
// option for it. It copies the text token by token and knows from the descriptors what each is.
func bareInt64(dst, text []byte, md protoreflect.MessageDescriptor, types Resolver) ([]byte, error) {
	w := &bareWriter{dec: json.NewDecoder(bytes.NewReader(text)), text: text, out: dst, types: types}
	w.dec.UseNumber()
	err := w.message(md)
	return append(w.out, text[w.copied:]...), err
}

type bareWriter struct {
	dec    *json.Decoder
	text   []byte
	copied int // how much of text is in out
	out    []byte
	types  Resolver
}

// token reads a token and copies it, with what stands before it.
func (w *bareWriter) token() (json.Token, error) {
	t, err := w.dec.Token()
	end := int(w.dec.InputOffset())
	w.out = append(w.out, w.text[w.copied:end]...)
	w.copied = end
	return t, err
}

// verbatim copies a value.
func (w *bareWriter) verbatim() error { return w.value(w.verbatim, w.dropKey) }

func (w *bareWriter) dropKey(string) error { return w.verbatim() }

// value copies a value: the elements of an array by element, the members of an object by member, which is told the key.
func (w *bareWriter) value(element func() error, member func(key string) error) error {
	t, err := w.token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('['):
		for w.dec.More() {
			if err := element(); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		for w.dec.More() {
			key, err := w.token()
			if err == nil {
				err = member(key.(string))
			}
			if err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = w.token()
	return err
}

func (w *bareWriter) message(md protoreflect.MessageDescriptor) error {
	switch formOf(md) {
	case formObject:
		return w.value(w.verbatim, func(key string) error { return w.member(md, key) })
	case formWrapper:
		return w.scalar(md.Fields().ByNumber(1))
	case formAny:
		return w.any()
	}
	return w.verbatim()
}

func (w *bareWriter) member(md protoreflect.MessageDescriptor, key string) error {
	fd := md.Fields().ByJSONName(key)
	if fd == nil {
		fd = md.Fields().ByTextName(key)
	}
	if name, ok := strings.CutPrefix(key, "["); ok && fd == nil {
		if t, err := w.types.FindExtensionByName(protoreflect.FullName(strings.TrimSuffix(name, "]"))); err == nil {
			fd = t.TypeDescriptor()
		}
	}
	switch {
	case fd == nil:
		return w.verbatim()
	case fd.IsMap():
		return w.value(w.verbatim, func(string) error { return w.single(fd.MapValue()) })
	case fd.IsList():
		return w.value(func() error { return w.single(fd) }, w.dropKey)
	}
	return w.single(fd)
}

func (w *bareWriter) single(fd protoreflect.FieldDescriptor) error {
	if fd.Message() != nil {
		return w.message(fd.Message())
	}
	return w.scalar(fd)
}

func (w *bareWriter) scalar(fd protoreflect.FieldDescriptor) error {
	t, err := w.token()
	if digits, ok := t.(string); ok && integers64>>kindOf(fd)&1 != 0 {
		w.out = append(w.out[:len(w.out)-len(digits)-2], digits...)
	}
	return err
}

// any copies a google.protobuf.Any, of which protojson writes the type first.
func (w *bareWriter) any() error {
	var md protoreflect.MessageDescriptor
	return w.value(w.verbatim, func(key string) error {
		switch {
		case key == "@type":
			url, err := w.token()
			if err != nil {
				return err
			}
			t, err := w.types.FindMessageByURL(url.(string))
			if err == nil {
				md = t.Descriptor()
			}
			return err
		case md == nil:
			return w.verbatim()
		case formOf(md).custom():
			return w.message(md)
		}
		return w.member(md, key)
	})
}
