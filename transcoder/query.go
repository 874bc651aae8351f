package transcoder

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/transcoder/codec"
)

const (
	// maxParams bounds the parameters of one query, which are compared with each other.
	maxParams = 1000
	// maxDepth bounds how deep a parameter reaches into messages; decoders in other languages stop at 100.
	maxDepth = 64
)

// fieldPath leads to a field through singular message fields.
type fieldPath = []protoreflect.FieldDescriptor

// query reads query parameters for the fields of a message that neither path nor body binds.
type query struct {
	what          string // for errors: "query"
	message       protoreflect.MessageDescriptor
	top           map[string]fieldPath // the fields of the message by both their names
	bound         []fieldPath
	closed        bool // the body is the whole message: nothing is left for parameters
	ignoreUnknown bool
	ignored       map[string]bool // parameters that are skipped in any case
	ignoredStarts []string        // and what the names of more begin with
}

func compileQuery(md protoreflect.MessageDescriptor, closed bool, o *Options) *query {
	q := &query{what: "query", message: md, closed: closed, ignoreUnknown: o.IgnoreUnknownQuery, top: map[string]fieldPath{}}
	for _, name := range o.IgnoredQuery {
		if start, ok := strings.CutSuffix(name, "*"); ok {
			q.ignoredStarts = append(q.ignoredStarts, start)
			continue
		}
		if q.ignored == nil {
			q.ignored = map[string]bool{}
		}
		q.ignored[name] = true
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		q.top[fd.JSONName()] = fieldPath{fd}
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		q.top[string(fd.Name())] = fieldPath{fd}
	}
	return q
}

// errNoParam says that a parameter is for no field that a parameter may be for, and so unknown.
type errNoParam struct{ reason string }

func (e *errNoParam) Error() string { return e.reason }

// ResolvePath follows a dotted path of field names, JSON or proto, as a path variable or a query parameter is written.
func ResolvePath(md protoreflect.MessageDescriptor, path string) (fieldPath, error) {
	var fields fieldPath
	for {
		name, rest, more := strings.Cut(path, ".")
		fd := fieldByName(md, name)
		if fd == nil {
			if name, _, key := strings.Cut(name, "["); key {
				if fd := fieldByName(md, name); fd != nil && fd.IsMap() {
					return nil, codec.CheckParam(fd)
				}
			}
			return nil, &errNoParam{fmt.Sprintf("%s has no field %q", md.FullName(), name)}
		}
		fields = append(fields, fd)
		if !more {
			return fields, nil
		}
		if fd.Message() == nil || fd.IsList() || fd.IsMap() {
			if err := codec.CheckParam(fd); err != nil {
				return nil, err
			}
			return nil, &errNoParam{fmt.Sprintf("%s is no message, so it has no field %q", fd.FullName(), rest)}
		}
		if len(fields) == maxDepth {
			return nil, fmt.Errorf("more than %d messages deep", maxDepth)
		}
		md, path = fd.Message(), rest
	}
}

func fieldByName(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByName(protoreflect.Name(name)); fd != nil {
		return fd
	}
	return md.Fields().ByJSONName(name)
}

// parse appends a parameter for each of a raw query.
func (q *query) parse(dst []codec.Param, raw string) ([]codec.Param, error) {
	first := len(dst)
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(key)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return dst, &codec.Error{Reason: q.what + ": " + err.Error()}
		}
		if q.ignores(key) {
			continue
		}
		path, err := q.find(key)
		if err == nil {
			err = clash(dst[first:], path)
		}
		if err == nil && len(dst)-first == maxParams {
			err = fmt.Errorf("more than %d parameters", maxParams)
		}
		if err != nil {
			var unknown *errNoParam
			if q.ignoreUnknown && errors.As(err, &unknown) {
				continue
			}
			return dst, &codec.Error{Field: key, Reason: q.what + ": " + err.Error()}
		}
		dst = append(dst, codec.Param{Path: path, Value: value})
	}
	return dst, nil
}

func (q *query) ignores(key string) bool {
	if q.ignored[key] {
		return true
	}
	for _, start := range q.ignoredStarts {
		if strings.HasPrefix(key, start) {
			return true
		}
	}
	return false
}

// find returns the field that a parameter is for.
func (q *query) find(key string) (fieldPath, error) {
	if q.closed {
		return nil, &errNoParam{"the body is the whole message, so there are no query parameters"}
	}
	path := q.top[key]
	if path == nil {
		var err error
		if path, err = ResolvePath(q.message, key); err != nil {
			return nil, err
		}
	}
	for _, b := range q.bound {
		if n := min(len(b), len(path)); slices.Equal(b[:n], path[:n]) {
			return nil, &errNoParam{"comes with the path or the body, not with the query"}
		}
	}
	return path, codec.CheckParam(path[len(path)-1])
}

// clash says why path cannot be set besides what is set already.
func clash(set []codec.Param, path fieldPath) error {
	last := path[len(path)-1]
	for i := range set {
		other := set[i].Path
		if !last.IsList() && slices.Equal(other, path) {
			return errors.New("takes one value, but there are several")
		}
		for depth := range min(len(other), len(path)) {
			a, b := other[depth], path[depth]
			if a == b {
				continue
			}
			if oneof := a.ContainingOneof(); oneof != nil && oneof == b.ContainingOneof() {
				return fmt.Errorf("only one of the oneof %s may be given", oneof.Name())
			}
			break
		}
	}
	return nil
}
