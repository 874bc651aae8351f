package codec

import (
	"encoding/binary"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// paramSet is the path and query parameters of a request while its message is being written. At each time those with places
// in [lo, hi) are for the message that is being read, or for messages in it: level says how many fields of their paths have been entered. They are
// in order of the next field, and else in the order in which they came.
type paramSet struct {
	all []param
	paramRange
}

type paramRange struct{ lo, hi, level int }

type param struct {
	*Param
	written int // the level of the innermost message that was entered with it
}

func (p *paramSet) set(list []Param) {
	for i := range list {
		p.all = append(p.all, param{Param: &list[i]})
	}
	p.enter(paramRange{0, len(list), 0})
}

func (p *paramSet) reset() { p.all, p.paramRange = p.all[:0], paramRange{} }

// drop lets go of what the caller owns.
func (p *paramSet) drop() { clear(p.all) }

// any reports whether the message that is being read has parameters.
func (p *paramSet) any() bool { return p.lo < p.hi }

// pause says that what is read next has none; resume takes what pause returned.
func (p *paramSet) pause() paramRange {
	r := p.paramRange
	p.paramRange = paramRange{}
	return r
}

func (p *paramSet) resume(r paramRange) { p.paramRange = r }

func (p *paramSet) enter(r paramRange) {
	p.paramRange = r
	if r.hi-r.lo > 1 {
		slices.SortStableFunc(p.all[r.lo:r.hi], func(x, y param) int {
			return int(x.Path[r.level].Number()) - int(y.Path[r.level].Number())
		})
	}
}

// next returns the parameters that begin at i and share their next field.
func (p *paramSet) next(i int) paramRange {
	num := p.all[i].Path[p.level].Number()
	end := i + 1
	for end < p.hi && p.all[end].Path[p.level].Number() == num {
		end++
	}
	return paramRange{i, end, p.level + 1}
}

// of returns the parameters for the field f or for fields in it; they are an empty range when there are none.
func (p *paramSet) of(f *field) paramRange {
	for i := p.lo; i < p.hi; {
		r := p.next(i)
		if p.all[i].Path[p.level].Number() == f.num {
			return r
		}
		i = r.hi
	}
	return paramRange{}
}

// leaf returns the place of the last of r that is for the whole field, -1 when there is none.
func (p *paramSet) leaf(r paramRange) int {
	for i := r.hi - 1; i >= r.lo; i-- {
		if len(p.all[i].Path) == r.level {
			return i
		}
	}
	return -1
}

// embeddedWithParams is embedded where parameters may be for the message: they are written before it is closed, so that it
// stands in the request once. Some decoders replace a message that comes twice, where protobuf says to merge.
func (d *decoder) embeddedWithParams(f *field, i int) int {
	inner := d.params.of(f)
	outer := d.params.pause()
	start := len(d.out)
	replaced := d.params.leaf(inner) >= 0
	if inner.lo < inner.hi && !replaced {
		for n := inner.lo; n < inner.hi; n++ {
			d.params.all[n].written = inner.level
		}
		d.params.enter(inner)
	}
	d.out = append(d.out, f.tagBytes...)
	if f.kind == kindGroup {
		i = d.message(f.msg, i)
		d.out = append(d.out, f.endTag...)
	} else {
		at := d.open(1)
		if i = d.message(f.msg, i); i >= 0 {
			d.close(at)
		}
	}
	if replaced {
		d.out = d.out[:start]
	}
	d.params.resume(outer)
	return i
}

// writeParams writes the parameters of the message p, which is about to be closed, except those that went into an embedded message already.
func (d *decoder) writeParams(p *Program, seen *seenSet) bool {
	outer := d.params.paramRange
	for i := outer.lo; i < outer.hi; {
		r := d.params.next(i)
		i = r.hi
		if d.params.all[r.lo].written > outer.level {
			continue
		}
		fd := d.params.all[r.lo].Path[outer.level]
		f := p.field(fd.Number())
		if f == nil || !d.writeField(f, r) {
			if d.bad == nil {
				d.bad = &Error{Field: d.params.all[r.lo].field(), Reason: "is no field of " + string(p.name)}
			}
			return false
		}
		if f.setSlot >= 0 && seen != nil {
			seen.add(f.setSlot)
		}
		d.params.resume(outer)
	}
	return true
}

// writeField writes the parameters r, which are for the field f or for fields in it.
func (d *decoder) writeField(f *field, r paramRange) bool {
	if f.msg != nil && f.card == singular {
		return d.writeEmbedded(f, r)
	}
	start := len(d.out)
	for _, p := range d.params.all[r.lo:r.hi] {
		if f.card == singular {
			d.out = d.out[:start]
		}
		if len(p.Path) > r.level {
			return d.badParam(p, "is no field of a message")
		}
		if err := CheckParam(f.desc); err != nil {
			return d.badParam(p, err.Error())
		}
		d.out = protowire.AppendVarint(d.out, f.tag)
		if f.msg != nil {
			if !d.writeText(f, p) {
				return false
			}
			continue
		}
		v, err := ParseParam(f.desc, p.Value)
		if err != nil {
			return d.badParam(p, err.Error())
		}
		d.writeScalar(f.kind, v)
	}
	return true
}

func (d *decoder) badParam(p param, reason string) bool {
	d.bad = &Error{Field: p.field(), Reason: reason}
	return false
}

// writeEmbedded writes a message that the body did not have, or that parameters replace as a whole.
func (d *decoder) writeEmbedded(f *field, r paramRange) bool {
	start := len(d.out)
	rest := r
	for i := r.lo; i < r.hi; i++ {
		p := d.params.all[i]
		if len(p.Path) > r.level {
			continue
		}
		if err := CheckParam(f.desc); err != nil {
			return d.badParam(p, err.Error())
		}
		d.out = append(d.out[:start], f.tagBytes...)
		if !d.writeText(f, p) {
			return false
		}
		rest.lo = i + 1 // what came before is replaced
	}
	if rest.lo == rest.hi {
		return true
	}
	var whole []byte
	if len(d.out) > start {
		_, n := protowire.ConsumeVarint(d.out[start+len(f.tagBytes):])
		whole = append(d.text[:0], d.out[start+len(f.tagBytes)+n:]...)
		d.text = whole
	}
	d.out = append(d.out[:start], f.tagBytes...)
	at := mark{content: len(d.out)}
	if f.kind != kindGroup {
		at = d.open(1)
	}
	d.out = append(d.out, whole...)
	d.params.enter(rest)
	seen := d.newSeen(f.msg.slots)
	if !d.writeParams(f.msg, &seen) || !d.initialized(f.msg, &seen, 0) {
		return false
	}
	d.bits = d.bits[:seen.base]
	if f.kind == kindGroup {
		d.out = append(d.out, f.endTag...)
	} else {
		d.close(at)
	}
	return true
}

// writeText writes the length and the content of the message that a parameter stands for.
func (d *decoder) writeText(f *field, p param) bool {
	at := d.open(1)
	var err error
	if d.out, err = AppendParam(d.out, f.desc.Message(), p.Value); err != nil {
		return d.badParam(p, err.Error())
	}
	d.close(at)
	return true
}

func (d *decoder) writeScalar(k kind, v protoreflect.Value) {
	switch k {
	case kindBool:
		d.out = protowire.AppendVarint(d.out, protowire.EncodeBool(v.Bool()))
	case kindString:
		d.out = protowire.AppendString(d.out, v.String())
	case kindBytes:
		d.out = protowire.AppendBytes(d.out, v.Bytes())
	case kindEnum, kindNull:
		d.out = appendVarint(d.out, uint64(v.Enum()))
	case kindFloat:
		d.out = binary.LittleEndian.AppendUint32(d.out, math.Float32bits(float32(v.Float())))
	case kindDouble:
		d.out = binary.LittleEndian.AppendUint64(d.out, math.Float64bits(v.Float()))
	case kindUint32, kindUint64, kindFixed32, kindFixed64:
		d.appendUnsigned(k, v.Uint())
	default:
		d.appendSigned(k, v.Int())
	}
}
