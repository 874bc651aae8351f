package codec

// any reads a google.protobuf.Any: an object with the URL of a type as "@type" and either the fields of a message of that type or, for types
// with a JSON form of their own, that form as "value".
func (d *decoder) any(p *Program, i int) int {
	if d.in[i] != '{' {
		return d.failToken(i, "an object")
	}
	url, at, ok := d.typeURL(i)
	if !ok {
		return -1
	}
	if len(url) == 0 {
		return d.untyped(i, at)
	}
	q, err := d.c.messageByURL(url)
	if err != nil {
		return d.fail(at, err.Error())
	}
	d.out = append(d.out, 1<<3|2)
	d.out = appendVarint(d.out, uint64(len(url)))
	d.out = append(d.out, url...)
	start := len(d.out)
	d.out = append(d.out, 2<<3|2)
	content := d.open(1)
	d.inAny++
	if q.form.custom() {
		i = d.anyMembers(q, i)
	} else {
		// The message in it is one level deeper than the Any.
		if d.depth--; d.depth < 0 {
			return d.fail(i, "exceeded max recursion depth")
		}
		if q.form == formMessageSet {
			return d.fail(i, "no support for proto1 MessageSets")
		}
		i = d.object(q, i, true)
		d.depth++
	}
	d.inAny--
	if i < 0 {
		return i
	}
	if len(d.out) == content.content {
		d.out = d.out[:start]
	} else {
		d.close(content)
	}
	return i
}

// typeURL finds the "@type" of the object at i and where it stands. The URL is empty when the object has none. All of the object is read.
func (d *decoder) typeURL(i int) (url []byte, at int, ok bool) {
	in, begin := d.in, i
	i = skipSpace(in, i+1)
	at = i
	if i < len(in) && in[i] == '}' {
		return nil, i, true
	}
	none := true
	for {
		name, next := d.string(i)
		if next < 0 {
			return nil, 0, false
		}
		isType := string(name) == "@type"
		if next = d.colon(next); next < 0 {
			return nil, 0, false
		}
		if next = skipSpace(in, next); isType {
			if !none {
				d.fail(i, `duplicate "@type" field`)
				return nil, 0, false
			}
			none = false
			at = next
			if url, next = d.string(next); next < 0 {
				return nil, 0, false
			}
			if len(url) == 0 {
				d.fail(at, `"@type" field contains empty value`)
				return nil, 0, false
			}
			if len(d.text) > 0 && &url[0] == &d.text[0] {
				url = append([]byte(nil), url...) // it had escapes
			}
			i = next
		} else if i = d.skip(next, d.depth); i < 0 {
			return nil, 0, false
		}
		i = skipSpace(in, i)
		switch {
		case i < len(in) && in[i] == ',':
			i = skipSpace(in, i+1)
		case i < len(in) && in[i] == '}':
			if d.rescans -= i - begin; d.rescans < 0 {
				d.fail(begin, "google.protobuf.Any nests too deeply")
				return nil, 0, false
			}
			if none {
				at = -1
			}
			return url, at, true
		default:
			d.failToken(i, "a comma or the end of the object")
			return nil, 0, false
		}
	}
}

// untyped reads an Any without a type, which must be empty unless unknown fields are ignored.
func (d *decoder) untyped(i, at int) int {
	if at < 0 && !d.c.options.DiscardUnknown {
		return d.fail(i, `missing "@type" field`)
	}
	return d.skip(i, d.depth)
}

// anyMembers reads an Any of a type with a JSON form of its own.
func (d *decoder) anyMembers(q *Program, i int) int {
	in := d.in
	found := false
	i = skipSpace(in, i+1)
	for {
		at := i
		name, next := d.string(i)
		if next < 0 {
			return next
		}
		isType, isValue := string(name) == "@type", string(name) == "value"
		if next = d.colon(next); next < 0 {
			return next
		}
		i = skipSpace(in, next)
		switch {
		case isType:
			_, i = d.string(i)
		case isValue && found:
			return d.fail(at, `duplicate "value" field`)
		case isValue:
			found = true
			i = d.known(q, i)
		case d.c.options.DiscardUnknown:
			i = d.skip(i, d.depth)
		default:
			return d.fail(at, "unknown field "+d.token(at))
		}
		if i < 0 {
			return i
		}
		i = skipSpace(in, i)
		if i < len(in) && in[i] == ',' {
			i = skipSpace(in, i+1)
			continue
		}
		if i >= len(in) || in[i] != '}' {
			return d.failToken(i, "a comma or the end of the object")
		}
		if !found && q.form != formEmpty {
			return d.fail(i, `missing "value" field`)
		}
		return i + 1
	}
}
