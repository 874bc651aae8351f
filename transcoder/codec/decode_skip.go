package codec

// skip passes over any JSON value, in which arrays and objects may nest as deep as depth.
func (d *decoder) skip(i, depth int) int {
	in := d.in
	if i >= len(in) {
		return d.failToken(i, "a value")
	}
	switch c := in[i]; {
	case c == '"':
		_, i = d.string(i)
		return i
	case c == '{' || c == '[':
		if depth--; depth < 0 {
			return d.fail(i, "exceeded max recursion depth")
		}
		return d.skipMembers(i+1, depth, c == '{')
	case literal(in, i, "null"), literal(in, i, "true"):
		return i + 4
	case literal(in, i, "false"):
		return i + 5
	}
	end := scanNumber(in, i)
	if end < 0 {
		return d.failToken(i, "a value")
	}
	return end
}

// skipMembers passes over the members of an object or an array, and its end.
func (d *decoder) skipMembers(i, depth int, object bool) int {
	in := d.in
	closing := byte(']')
	if object {
		closing = '}'
	}
	i = skipSpace(in, i)
	if i < len(in) && in[i] == closing {
		return i + 1
	}
	for {
		if object {
			if _, i = d.string(i); i < 0 {
				return i
			}
			if i = d.colon(i); i < 0 {
				return i
			}
			i = skipSpace(in, i)
		}
		if i = d.skip(i, depth); i < 0 {
			return i
		}
		i = skipSpace(in, i)
		switch {
		case i < len(in) && in[i] == ',':
			i = skipSpace(in, i+1)
		case i < len(in) && in[i] == closing:
			return i + 1
		default:
			return d.failToken(i, "a comma or the end")
		}
	}
}
