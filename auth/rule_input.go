package auth

import (
	"encoding/json"
	"net/textproto"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// input is what expressions see of a request. It is pooled: a name costs nothing until an expression asks for it, and a
// map not until it is looked into.
type input struct {
	q       *Question
	headers textMap
	query   textMap
	vars    textMap
	parsed  url.Values
}

var inputs = sync.Pool{New: func() any {
	in := new(input)
	in.headers = textMap{in: in, find: findHeader, all: allHeaders}
	in.query = textMap{in: in, find: findQuery, all: allQuery}
	in.vars = textMap{in: in, find: findVar, all: allVars}
	return in
}}

func (in *input) begin(q *Question) { in.q = q }

func (in *input) end() {
	in.q, in.parsed = nil, nil
	inputs.Put(in)
}

var methods = map[string]ref.Val{}

func init() {
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		methods[m] = types.String(m)
	}
}

// Parent implements cel.Activation.
func (in *input) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (in *input) ResolveName(name string) (any, bool) {
	q := in.q
	switch name {
	case "request.method":
		if m := methods[q.Method]; m != nil {
			return m, true
		}
		return types.String(q.Method), true
	case "request.path":
		return types.String(q.Path), true
	case "request.host":
		return types.String(q.Host), true
	case "request.protocol":
		return types.String(q.Protocol), true
	case "request.ip":
		return types.String(q.Client.Unmap().String()), true
	case "request.headers":
		return &in.headers, true
	case "request.query":
		return &in.query, true
	case "request.time":
		return types.Timestamp{Time: time.Now()}, true
	case "request.upgrade":
		return types.Bool(q.Upgrade), true
	case "route.name":
		return types.String(q.Route), true
	case "route.binding":
		return types.String(q.Binding), true
	case "route.method":
		return types.String(q.Calls), true
	case "vars":
		return &in.vars, true
	case "message.type":
		return types.String(q.Message.Type), true
	case "message.route":
		return types.String(q.Message.Route), true
	case "message.channel":
		return types.String(q.Message.Channel), true
	case "message.size":
		return types.Int(q.Message.Size), true
	case "message.data":
		return q.Message.value(), true
	}
	return q.Identity.resolve(name)
}

// value is the message's data, null where that is not JSON.
func (m *Message) value() ref.Val {
	var v any
	if m.Data == nil || json.Unmarshal(m.Data, &v) != nil {
		return types.NullValue
	}
	return valueOf(v)
}

// identityValues are an identity's as expressions have them. They are made once for each.
type identityValues struct {
	user, provider, keyID, roles, scopes, claims ref.Val
}

// seal makes the identity's values, and returns it.
func (id *Identity) seal() *Identity {
	id.values = &identityValues{
		user: types.String(id.User), provider: types.String(id.Provider), keyID: types.String(id.KeyID),
		roles: listOf(id.Roles), scopes: listOf(id.Scopes), claims: valueOf(id.Claims),
	}
	return id
}

// valueOf makes a value of what JSON decodes to, to its last element: an expression that looks for one allocates nothing then.
func valueOf(v any) ref.Val {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[ref.Val]ref.Val, len(v))
		for key, one := range v {
			m[types.String(key)] = valueOf(one)
		}
		return types.NewRefValMap(types.DefaultTypeAdapter, m)
	case []any:
		return listOf(v)
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

func listOf[T any](list []T) ref.Val {
	values := make([]ref.Val, len(list))
	for i, one := range list {
		values[i] = valueOf(one)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, values)
}

func (id *Identity) resolve(name string) (any, bool) {
	v := id.values
	if v == nil {
		sealed := *id
		v = sealed.seal().values
	}
	switch name {
	case "identity.user":
		return v.user, true
	case "identity.provider":
		return v.provider, true
	case "identity.key_id":
		return v.keyID, true
	case "identity.roles":
		return v.roles, true
	case "identity.scopes":
		return v.scopes, true
	case "identity.claims":
		return v.claims, true
	case "identity.authenticated":
		return types.Bool(id.Authenticated()), true
	}
	return nil, false
}

// textMap is a map of strings that is looked up where it lies.
type textMap struct {
	in   *input
	find func(in *input, key string) (string, bool)
	all  func(in *input) map[string]string
}

// findHeader finds a header by its name in any case; several lines of one are one value (RFC 9110 section 5.3).
func findHeader(in *input, key string) (string, bool) {
	values := in.q.Header[textproto.CanonicalMIMEHeaderKey(key)]
	switch len(values) {
	case 0:
		return "", false
	case 1:
		return values[0], true
	}
	return strings.Join(values, ", "), true
}

func allHeaders(in *input) map[string]string {
	m := make(map[string]string, len(in.q.Header))
	for name, values := range in.q.Header {
		m[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return m
}

func (in *input) values() url.Values {
	if in.parsed == nil {
		in.parsed, _ = url.ParseQuery(in.q.Query)
	}
	return in.parsed
}

// findQuery finds a query parameter that is there once: of two, a backend might take the other.
func findQuery(in *input, key string) (string, bool) {
	values := in.values()[key]
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}

func allQuery(in *input) map[string]string {
	m := map[string]string{}
	for name, values := range in.values() {
		if len(values) == 1 {
			m[name] = values[0]
		}
	}
	return m
}

func findVar(in *input, key string) (string, bool) {
	for i := range in.q.Vars {
		if in.q.Vars[i].Name == key {
			return in.q.Vars[i].Value, true
		}
	}
	return "", false
}

func allVars(in *input) map[string]string {
	m := make(map[string]string, len(in.q.Vars))
	for _, v := range in.q.Vars {
		m[v.Name] = v.Value
	}
	return m
}

var _ traits.Mapper = (*textMap)(nil)

// Find implements traits.Mapper.
func (m *textMap) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	value, ok := m.find(m.in, string(name))
	if !ok {
		return nil, false
	}
	return types.String(value), true
}

// Get implements traits.Indexer.
func (m *textMap) Get(key ref.Val) ref.Val {
	if value, ok := m.Find(key); ok {
		return value
	}
	return types.NewErr("no such key: %v", key)
}

// Contains implements traits.Container.
func (m *textMap) Contains(key ref.Val) ref.Val {
	_, ok := m.Find(key)
	return types.Bool(ok)
}

func (m *textMap) whole() traits.Mapper {
	return types.NewStringStringMap(types.DefaultTypeAdapter, m.all(m.in))
}

// Iterator implements traits.Iterable.
func (m *textMap) Iterator() traits.Iterator { return m.whole().Iterator() }

// Size implements traits.Sizer.
func (m *textMap) Size() ref.Val { return m.whole().Size() }

// ConvertToNative implements ref.Val.
func (m *textMap) ConvertToNative(t reflect.Type) (any, error) { return m.whole().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (m *textMap) ConvertToType(t ref.Type) ref.Val { return m.whole().ConvertToType(t) }

// Equal implements ref.Val.
func (m *textMap) Equal(other ref.Val) ref.Val { return m.whole().Equal(other) }

// Type implements ref.Val.
func (m *textMap) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (m *textMap) Value() any { return m.all(m.in) }
