package codec

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"
)

// decoder reads JSON and writes wire bytes. Its methods take the index in the text where something begins and return the
// index behind it, or -1 after fail.
type decoder struct {
	c   *Compiler
	in  []byte
	out []byte

	depth   int // how many messages may still be entered
	limit   int // how long out may become
	inAny   int // within how many google.protobuf.Any: required fields are not asked for there
	rescans int // how many bytes may still be looked at twice, which a late "@type" costs

	text   []byte // strings without their escapes
	bits   []uint64
	keys   keySet
	exts   []*field // extensions seen in the messages that are open
	params paramSet

	at     int    // where in the text it is wrong
	reason string // what is; empty while nothing is
	bad    *Error // what is wrong with a parameter
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

func newDecoder(c *Compiler, dst, in []byte) *decoder {
	d := decoders.Get().(*decoder)
	d.c, d.in, d.out = c, in, dst
	d.depth, d.limit = c.limits.Depth, len(dst)+c.limits.Output
	d.inAny, d.rescans, d.reason = 0, 1<<20+16*len(in), ""
	d.text, d.bits, d.exts = d.text[:0], d.bits[:0], d.exts[:0]
	d.keys.reset()
	d.params.reset()
	return d
}

// free gives the decoder back. What one huge message made it grow to is not kept.
func (d *decoder) free() {
	d.c, d.in, d.out, d.bad = nil, nil, nil, nil
	d.params.drop()
	if cap(d.text) > maxKept {
		d.text = nil
	}
	d.keys.shrink()
	decoders.Put(d)
}

const maxKept = 64 << 10

// fail notes what is wrong at an index of the text.
func (d *decoder) fail(at int, reason string) int {
	if d.reason == "" {
		d.at, d.reason = at, reason
	}
	return -1
}

// failToken is fail for a value that is not what it should be.
func (d *decoder) failToken(at int, want string) int {
	if d.reason != "" {
		return -1
	}
	if at >= len(d.in) {
		return d.fail(at, "the JSON ends too early")
	}
	return d.fail(at, fmt.Sprintf("expected %s, got %s", want, d.token(at)))
}

// token is the token at an index, as an error shows it.
func (d *decoder) token(at int) string {
	end := at
	switch c := d.in[at]; {
	case c == '"':
		end = min(stringEnd(d.in, at), len(d.in))
	case inWord[c]:
		for end < len(d.in) && inWord[d.in[end]] {
			end++
		}
	default:
		_, n := utf8.DecodeRune(d.in[at:])
		end = at + n
	}
	if end-at > maxEcho+4 {
		end = at + maxEcho + 4
	}
	return shorten(string(bytes.ToValidUTF8(d.in[at:end], []byte("?"))))
}

// finish returns what was written, or dst and the error, in which field stands before the path.
func (d *decoder) finish(dst []byte, i int, field string) ([]byte, error) {
	if i >= 0 {
		return d.out, nil
	}
	if d.bad != nil {
		return dst, d.bad
	}
	before := d.in[:min(d.at, len(d.in))]
	path := pathAt(d.in, len(before))
	switch {
	case field == "":
	case path == "" || path[0] == '[':
		path = field + path
	default:
		path = field + "." + path
	}
	line := bytes.Count(before, []byte{'\n'}) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return dst, &Error{Field: path, Reason: fmt.Sprintf("%s (line %d, column %d)", d.reason, line, column)}
}

// document reads a whole text: one message and nothing behind it.
func (d *decoder) document(p *Program) int {
	return d.end(d.message(p, skipSpace(d.in, 0)))
}

// end asserts that the text ends at i.
func (d *decoder) end(i int) int {
	if i < 0 {
		return i
	}
	if i = skipSpace(d.in, i); i < len(d.in) {
		return d.failToken(i, "nothing more")
	}
	return i
}

// message reads a message in whatever form its type has and writes its content, without tag and length.
func (d *decoder) message(p *Program, i int) int {
	if d.depth--; d.depth < 0 {
		return d.fail(i, "exceeded max recursion depth")
	}
	if p.form == formObject {
		i = d.object(p, i, false)
	} else {
		paused := d.params.pause()
		if i = d.known(p, i); i >= 0 && paused.lo < paused.hi {
			d.params.resume(paused)
			if !d.writeParams(p, nil) {
				return -1
			}
		}
		d.params.resume(paused)
	}
	d.depth++
	if len(d.out) > d.limit {
		return d.fail(i, "the message becomes too large")
	}
	return i
}

// object reads a JSON object of a message's fields. In a google.protobuf.Any its "@type" is passed over.
func (d *decoder) object(p *Program, i int, inAny bool) int {
	in := d.in
	if i >= len(in) || in[i] != '{' {
		return d.failToken(i, "an object")
	}
	i = skipSpace(in, i+1)
	seen := d.newSeen(p.slots)
	exts := len(d.exts)
	guess := p.first
	if i < len(in) && in[i] == '}' {
		i++
	} else {
		for {
			if i >= len(in) || in[i] != '"' {
				return d.failToken(i, "a field name")
			}
			at := i
			i++
			f := expectedField(in, i, guess)
			if f != nil {
				i += len(f.key)
			} else if f, i = d.fieldName(p, guess, i, inAny); i < 0 {
				return i
			}
			if i < len(in) && in[i] == ':' {
				i++
			} else if i = d.colon(i); i < 0 {
				return i
			}
			if i < len(in) && in[i] <= ' ' {
				i = skipSpace(in, i)
			}
			switch {
			case f == nil:
				i = d.skip(i, d.depth)
			case f.index < 0:
				i = d.extensionMember(f, exts, at, i)
			default:
				guess = f.next
				i = d.member(f, &seen, at, i)
			}
			if i < 0 {
				return i
			}
			if i < len(in) && in[i] <= ' ' {
				i = skipSpace(in, i)
			}
			if i < len(in) && in[i] == ',' {
				i = skipSpace(in, i+1)
				continue
			}
			if i < len(in) && in[i] == '}' {
				i++
				break
			}
			return d.failToken(i, "a comma or the end of the object")
		}
	}
	if d.params.any() && !d.writeParams(p, &seen) {
		return -1
	}
	if !d.initialized(p, &seen, i-1) {
		return -1
	}
	d.exts = d.exts[:exts]
	d.bits = d.bits[:seen.base]
	return i
}

// expectedField returns the field of which the name stands at i if it is the expected one or one of those after it, as it is where some were
// left out.
func expectedField(in []byte, i int, f *field) *field {
	if f == nil {
		return nil
	}
	for range 4 {
		if key := f.key; len(in)-i > len(key) && in[i] == key[0] && string(in[i:i+len(key)]) == key {
			return f
		}
		f = f.next
	}
	return nil
}

// initialized reports whether the required fields of the message that ends at an index have values.
func (d *decoder) initialized(p *Program, seen *seenSet, at int) bool {
	if d.inAny > 0 {
		return true
	}
	for _, f := range p.required {
		if !seen.has(f.setSlot) {
			d.fail(at, "required field "+string(f.desc.FullName())+" is not set")
			return false
		}
	}
	return true
}

// fieldName reads the name after its opening quote. The field is nil when the member is to be skipped.
func (d *decoder) fieldName(p *Program, guess *field, i int, inAny bool) (*field, int) {
	in := d.in
	if guess != nil && len(in)-i > len(guess.alt) && string(in[i:i+len(guess.alt)]) == guess.alt {
		return guess, i + len(guess.alt)
	}
	at := i - 1
	name, i := d.string(at)
	if i < 0 {
		return nil, i
	}
	if len(name) > 1 && name[0] == '[' && name[len(name)-1] == ']' {
		f, err := d.c.extensionByName(p, name[1:len(name)-1])
		if err != nil {
			return nil, d.fail(at, err.Error())
		}
		if f != nil {
			return f, i
		}
	} else if n := p.byName.find(name); n >= 0 {
		return p.fields[n], i
	}
	if inAny && string(name) == "@type" {
		return nil, i
	}
	if !d.c.options.DiscardUnknown {
		return nil, d.fail(at, "unknown field "+d.token(at))
	}
	return nil, i
}

// colon is the slow way over the colon behind a name.
func (d *decoder) colon(i int) int {
	i = skipSpace(d.in, i)
	if i >= len(d.in) || d.in[i] != ':' {
		return d.failToken(i, "a colon")
	}
	return i + 1
}

// member reads the value of a field whose name stands at.
func (d *decoder) member(f *field, seen *seenSet, at, i int) int {
	if seen.has(f.slot) {
		return d.fail(at, "duplicate field "+d.token(at))
	}
	seen.add(f.slot)
	if i < len(d.in) && d.in[i] == 'n' && f.nullable && literal(d.in, i, "null") {
		return i + len("null")
	}
	if f.oneof >= 0 {
		if seen.has(f.oneofSlot) {
			return d.fail(at, "the oneof "+string(f.desc.ContainingOneof().FullName())+" is already set")
		}
		seen.add(f.oneofSlot)
	}
	start := len(d.out)
	i = d.value(f, i)
	if f.setSlot >= 0 && len(d.out) > start {
		seen.add(f.setSlot)
	}
	return i
}

// value reads the value of a field and writes it with its tag.
func (d *decoder) value(f *field, i int) int {
	switch {
	case f.card == mapping:
		return d.mapping(f, i)
	case f.card == list:
		return d.list(f, i)
	case f.msg != nil:
		return d.embedded(f, i)
	}
	start := len(d.out)
	d.out = append(d.out, f.tagBytes...)
	from := len(d.out)
	i = d.scalar(f, i)
	if i < 0 {
		return i
	}
	if v := d.out[from:]; len(v) == 0 || !f.presence && isZero(v) {
		d.out = d.out[:start]
	}
	return i
}

// extensionMember is member for an extension.
func (d *decoder) extensionMember(f *field, exts, at, i int) int {
	if slices.Contains(d.exts[exts:], f) {
		return d.fail(at, "duplicate field "+d.token(at))
	}
	d.exts = append(d.exts, f)
	if f.nullable && literal(d.in, i, "null") {
		return i + len("null")
	}
	return d.value(f, i)
}

// isZero reports whether the wire bytes of one scalar are those of the default.
func isZero(v []byte) bool {
	if v[0] != 0 {
		return false
	}
	for _, c := range v {
		if c != 0 {
			return false
		}
	}
	return true
}
