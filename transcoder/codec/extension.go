package codec

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// messageByURL finds the program of the type that a google.protobuf.Any names.
func (c *Compiler) messageByURL(url []byte) (*Program, error) {
	if p := c.urls.load()[string(url)]; p != nil {
		return p, nil
	}
	mt, err := c.resolver.FindMessageByURL(string(url))
	if err != nil {
		return nil, fmt.Errorf("unable to resolve %q: %s", shorten(string(url)), plainText(err))
	}
	p, err := c.Compile(mt.Descriptor())
	if err != nil {
		return nil, err
	}
	c.urls.store(string(url), p)
	return p, nil
}

// extensionByName finds an extension by its full name; nil when there is none.
func (c *Compiler) extensionByName(p *Program, name []byte) (*field, error) {
	f := c.extNames.load()[string(name)]
	if f == nil {
		xt, err := c.resolver.FindExtensionByName(protoreflect.FullName(name))
		if err == protoregistry.NotFound || err == nil && xt == nil {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("unable to resolve %q: %s", shorten(string(name)), plainText(err))
		}
		if f, err = c.extension(xt); err != nil {
			return nil, err
		}
		c.extNames.store(string(name), f)
	}
	if f.desc.ContainingMessage().FullName() != p.name || p.ranges == nil || !p.ranges.Has(f.num) {
		return nil, fmt.Errorf("message %s cannot be extended by %s", p.name, f.desc.FullName())
	}
	return f, nil
}

// extensionByNumber finds an extension of p by its number; nil when there is none.
func (c *Compiler) extensionByNumber(p *Program, num protowire.Number) (*field, error) {
	if p.ranges == nil || !p.ranges.Has(num) {
		return nil, nil
	}
	key := extensionNumber{p, num}
	if f := c.extNumbers.load()[key]; f != nil {
		return f, nil
	}
	xt, err := c.resolver.FindExtensionByNumber(p.name, num)
	if err == protoregistry.NotFound || err == nil && xt == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: unable to resolve extension %d: %s", p.name, num, plainText(err))
	}
	f, err := c.extension(xt)
	if err != nil {
		return nil, err
	}
	c.extNumbers.store(key, f)
	return f, nil
}

func (c *Compiler) extension(xt protoreflect.ExtensionType) (*field, error) {
	fd := xt.TypeDescriptor()
	if fd.Message() != nil {
		if _, err := c.Compile(fd.Message()); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := build{c: c}
	f := b.field(fd)
	if b.err != nil {
		return nil, b.err
	}
	f.presence = true // what is there is printed, whatever the value
	f.prefix = prefixOf(fd.JSONName())
	return f, nil
}
