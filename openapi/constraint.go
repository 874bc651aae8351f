package openapi

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The rules of buf.validate on a field, a message and a oneof; nil, whose getters are safe, where there are none.

func fieldRules(fd protoreflect.FieldDescriptor) *validate.FieldRules {
	rules, _ := proto.GetExtension(fd.Options(), validate.E_Field).(*validate.FieldRules)
	if rules.GetIgnore() == validate.Ignore_IGNORE_ALWAYS {
		return nil
	}
	return rules
}

func messageRules(md protoreflect.MessageDescriptor) *validate.MessageRules {
	rules, _ := proto.GetExtension(md.Options(), validate.E_Message).(*validate.MessageRules)
	return rules
}

func oneofRequired(od protoreflect.OneofDescriptor) bool {
	rules, _ := proto.GetExtension(od.Options(), validate.E_Oneof).(*validate.OneofRules)
	return rules.GetRequired()
}

// ruleText is what CEL rules say to people, which is all that a schema can say of them.
func ruleText(rules []*validate.Rule, expressions []string) string {
	var lines []string
	for _, rule := range rules {
		switch {
		case rule.GetMessage() != "":
			lines = append(lines, "- "+rule.GetMessage())
		case rule.GetExpression() != "":
			lines = append(lines, "- `"+rule.GetExpression()+"`")
		}
	}
	for _, e := range expressions {
		lines = append(lines, "- `"+e+"`")
	}
	return strings.Join(lines, "\n")
}

// constrain adds the keywords that say what the field's buf.validate rules say.
func (r *route) constrain(fd protoreflect.FieldDescriptor, s *Schema) {
	rules := fieldRules(fd)
	if rules == nil {
		return
	}
	if rules.GetIgnore() == validate.Ignore_IGNORE_IF_ZERO_VALUE && !fd.HasPresence() && !fd.IsList() && !fd.IsMap() {
		// The rules are for values other than the zero value, which stands in answers too.
		if zero := zeroValue(fd); zero != nil {
			ruled := &Schema{}
			r.apply(rules, fd, ruled)
			s.Examples, ruled.Examples = ruled.Examples, nil
			if keywords(ruled) {
				s.AnyOf = []*Schema{{Const: zero}, ruled}
			}
		}
		return
	}
	r.apply(rules, fd, s)
}

func zeroValue(fd protoreflect.FieldDescriptor) any {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return ""
	case protoreflect.FloatKind, protoreflect.DoubleKind, protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return 0
	}
	return nil
}

func keywords(s *Schema) bool {
	text, err := marshal(s)
	return err == nil && string(text) != "{}"
}

// apply adds the rules for one value: the field, an element of it, a key of a map. Rules are read by the names of their
// fields, which all kinds of numbers share.
func (r *route) apply(rules *validate.FieldRules, fd protoreflect.FieldDescriptor, s *Schema) {
	m := rules.ProtoReflect()
	which := m.WhichOneof(m.Descriptor().Oneofs().ByName("type"))
	if which == nil || rules.GetIgnore() == validate.Ignore_IGNORE_ALWAYS {
		return
	}
	a := ruleset{m.Get(which).Message()}
	if which.Name() != "enum" {
		s.Examples = append(s.Examples, r.examples(a)...)
	}
	switch which.Name() {
	case "string":
		a.text(s)
	case "int64", "uint64", "sint64", "fixed64", "sfixed64":
		if r.variant.int64Numbers {
			a.number(s)
		} else {
			s.Description = paragraphs(s.Description, a.words())
		}
	case "float", "double", "int32", "uint32", "sint32", "fixed32", "sfixed32":
		a.number(s)
	case "bool":
		if v, ok := a.get("const"); ok {
			a.only(s, []any{v.Bool()})
		}
	case "enum":
		if fd.Enum() != nil {
			r.enumRules(a, fd.Enum(), s)
		}
	case "repeated":
		s.MinItems, s.MaxItems, s.UniqueItems = a.count("min_items"), a.count("max_items"), rules.GetRepeated().GetUnique()
		if items := rules.GetRepeated().GetItems(); items != nil && s.Items != nil {
			r.apply(items, fd, s.Items)
		}
	case "map":
		s.MinProperties, s.MaxProperties = a.count("min_pairs"), a.count("max_pairs")
		if keys := rules.GetMap().GetKeys(); keys != nil && fd.IsMap() && fd.MapKey().Kind() == protoreflect.StringKind {
			s.PropertyNames = &Schema{}
			r.apply(keys, fd.MapKey(), s.PropertyNames)
		}
		if values := rules.GetMap().GetValues(); values != nil && s.AdditionalProperties != nil {
			r.apply(values, fd.MapValue(), s.AdditionalProperties)
		}
	}
}

// ruleset is the rules for one kind of value.
type ruleset struct{ protoreflect.Message }

func (a ruleset) get(name protoreflect.Name) (protoreflect.Value, bool) {
	fd := a.Descriptor().Fields().ByName(name)
	if fd == nil || !a.Has(fd) {
		return protoreflect.Value{}, false
	}
	return a.Get(fd), true
}

func (a ruleset) list(name protoreflect.Name) []protoreflect.Value {
	v, ok := a.get(name)
	if !ok {
		return nil
	}
	var values []protoreflect.Value
	for i := range v.List().Len() {
		values = append(values, v.List().Get(i))
	}
	return values
}

func (a ruleset) count(name protoreflect.Name) *uint64 {
	v, ok := a.get(name)
	if !ok {
		return nil
	}
	n := v.Uint()
	return &n
}

// only leaves the schema nothing but the values given, and null where it took that.
func (ruleset) only(s *Schema, values []any) {
	if len(s.Type) > 0 && s.Type[len(s.Type)-1] == "null" {
		values = append(values, nil)
	}
	s.Enum = values
}

// examples are the values that the rules give as such.
func (r *route) examples(a ruleset) []any {
	values := a.list("example")
	if len(values) == 0 {
		return nil
	}
	switch values[0].Interface().(type) {
	case string:
		return texts(values)
	case int64, uint64:
		if r.variant.int64Numbers {
			return numbers(values)
		}
		return texts(values)
	case int32, uint32, float32, float64:
		return numbers(values)
	}
	return nil
}

// formats are the well-known rules of strings that JSON Schema has a format for.
var formats = map[protoreflect.Name]string{
	"email": "email", "hostname": "hostname", "ipv4": "ipv4", "ipv6": "ipv6", "uri": "uri", "uri_ref": "uri-reference", "uuid": "uuid",
}

func (a ruleset) text(s *Schema) {
	s.MinLength, s.MaxLength = a.count("min_len"), a.count("max_len")
	if n := a.count("len"); n != nil {
		s.MinLength, s.MaxLength = n, n
	}
	if v, ok := a.get("const"); ok {
		a.only(s, []any{v.String()})
	}
	if in := a.list("in"); in != nil {
		a.only(s, texts(in))
	}
	if out := a.list("not_in"); out != nil {
		s.Not = &Schema{Enum: texts(out)}
	}
	for name, format := range formats {
		if v, ok := a.get(name); ok && v.Bool() {
			s.Format = format
		}
	}
	if v, ok := a.get("ip"); ok && v.Bool() {
		s.AnyOf = []*Schema{{Format: "ipv4"}, {Format: "ipv6"}}
	}
	var patterns []string
	if v, ok := a.get("pattern"); ok {
		if portable(v.String()) {
			patterns = append(patterns, v.String())
		} else {
			s.Description = paragraphs(s.Description, "Matches `"+v.String()+"` (RE2).")
		}
	}
	for _, part := range [...]struct {
		name          protoreflect.Name
		before, after string
	}{{"prefix", "^", ""}, {"contains", "", ""}, {"suffix", "", "$"}} {
		if v, ok := a.get(part.name); ok {
			patterns = append(patterns, part.before+regexp.QuoteMeta(v.String())+part.after)
		}
	}
	if len(patterns) > 0 {
		s.Pattern = patterns[0]
		for _, more := range patterns[1:] {
			s.AllOf = append(s.AllOf, &Schema{Pattern: more})
		}
	}
}

func texts(values []protoreflect.Value) []any {
	var list []any
	for _, v := range values {
		list = append(list, v.String())
	}
	return list
}

// re2Only is what RE2 has and the regular expressions of JSON Schema (ECMA-262) have not, or mean something else by.
var re2Only = regexp.MustCompile(`\(\?[^:]|\\[AzQECapPxx]|\[\[:`)

func portable(pattern string) bool { return !re2Only.MatchString(pattern) }

func (a ruleset) number(s *Schema) {
	if v, ok := a.get("const"); ok {
		a.only(s, numbers([]protoreflect.Value{v}))
	}
	if in := a.list("in"); in != nil {
		a.only(s, numbers(in))
	}
	if out := a.list("not_in"); out != nil {
		s.Not = &Schema{Enum: numbers(out)}
	}
	lower, upper := &Schema{}, &Schema{}
	var low, high float64
	bound := func(name protoreflect.Name, keyword *json.Number, value *float64) bool {
		v, ok := a.get(name)
		if ok {
			*keyword, *value, ok = number(v)
		}
		return ok
	}
	above := bound("gt", &lower.ExclusiveMinimum, &low) || bound("gte", &lower.Minimum, &low)
	below := bound("lt", &upper.ExclusiveMaximum, &high) || bound("lte", &upper.Maximum, &high)
	if above && below && low > high {
		// The values outside of a range.
		s.AnyOf = []*Schema{upper, lower}
		return
	}
	if above {
		s.Minimum, s.ExclusiveMinimum = lower.Minimum, lower.ExclusiveMinimum
	}
	if below {
		s.Maximum, s.ExclusiveMaximum = upper.Maximum, upper.ExclusiveMaximum
	}
}

// number is a number of a rule; ok is false for those that JSON does not have.
func number(v protoreflect.Value) (text json.Number, value float64, ok bool) {
	bits := 64
	switch n := v.Interface().(type) {
	case int32:
		return json.Number(v.String()), float64(n), true
	case int64:
		return json.Number(v.String()), float64(n), true
	case uint64:
		return json.Number(v.String()), float64(n), true
	case uint32:
		return json.Number(v.String()), float64(n), true
	case float32:
		bits, value = 32, float64(n)
	case float64:
		value = n
	}
	if math.IsInf(value, 0) || math.IsNaN(value) {
		return "", value, false
	}
	return json.Number(strconv.FormatFloat(value, 'g', -1, bits)), value, true
}

func numbers(values []protoreflect.Value) []any {
	var list []any
	for _, v := range values {
		if n, _, ok := number(v); ok {
			list = append(list, n)
		}
	}
	return list
}

// words says of a 64-bit number, which JSON has as a string, what the keywords for numbers cannot.
func (a ruleset) words() string {
	var said []string
	for _, rule := range [...]struct {
		name  protoreflect.Name
		words string
	}{{"const", "Always "}, {"gt", "More than "}, {"gte", "At least "}, {"lt", "Less than "}, {"lte", "At most "}} {
		if v, ok := a.get(rule.name); ok {
			said = append(said, rule.words+v.String()+".")
		}
	}
	for _, rule := range [...]struct {
		name  protoreflect.Name
		words string
	}{{"in", "One of "}, {"not_in", "None of "}} {
		if list := a.list(rule.name); list != nil {
			var values []string
			for _, v := range list {
				values = append(values, v.String())
			}
			said = append(said, rule.words+strings.Join(values, ", ")+".")
		}
	}
	return strings.Join(said, " ")
}

func (r *route) enumRules(a ruleset, ed protoreflect.EnumDescriptor, s *Schema) {
	values := func(numbers []protoreflect.Value) []any {
		var list []any
		for i := range ed.Values().Len() {
			v := ed.Values().Get(i)
			for _, n := range numbers {
				if int64(v.Number()) != n.Int() {
					continue
				}
				if r.variant.enumNumbers {
					list = append(list, int32(v.Number()))
				} else {
					list = append(list, string(v.Name()))
				}
			}
		}
		return list
	}
	if v, ok := a.get("const"); ok {
		a.only(s, values([]protoreflect.Value{v}))
	}
	if in := a.list("in"); in != nil {
		a.only(s, values(in))
	}
	if out := a.list("not_in"); out != nil {
		s.Not = &Schema{Enum: values(out)}
	}
}
