package transcoder

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/routing"
	"github.com/crossgate/crossgate/transcoder/codec"
	"github.com/crossgate/crossgate/transcoder/validation"
	"github.com/crossgate/crossgate/upstream"
)

// Backend calls methods with messages in wire format. *upstream.Pool is one.
type Backend interface {
	Invoke(ctx context.Context, call *upstream.Call, reply *upstream.Reply) error
	NewStream(ctx context.Context, desc *grpc.StreamDesc, method string) (grpc.ClientStream, error)
}

// Options are a route's choices.
type Options struct {
	Backend Backend
	Codec   codec.Codec // nil: codec.Reference
	JSON    codec.Options
	// IgnoreUnknownQuery lets query parameters pass that are no field.
	IgnoreUnknownQuery bool
	// IgnoredQuery are query parameters that are ignored whatever the message has; "utm_*" names many.
	IgnoredQuery []string
	// KeepUpdateMask leaves the update_mask of a PATCH as the client sent it, where else an empty one gets the paths of the
	// fields in the body.
	KeepUpdateMask bool
	// Forms says whether the body may be an HTML form.
	Forms Forms
	// ForwardHeaders are request headers that become metadata besides the standard ones; "X-Tenant-*" names many.
	ForwardHeaders []string
	// ReturnHeaders are metadata keys that become response headers by their own name; the others come as Grpc-Metadata-*.
	ReturnHeaders []string
	// Streams is how the messages of a server stream stand in a body.
	Streams StreamOptions
	// Rules are what each request message must hold to; nil for none.
	Rules *validation.Rules
	// MaxBodySize bounds a request's body, and each message of a stream; 0 is 4 MiB.
	MaxBodySize int64
	// Timeout bounds a call, and a stream as a whole; 0 for none.
	Timeout time.Duration
}

// StreamOptions are a route's choices for server streams.
type StreamOptions struct {
	// Framing is for clients whose Accept header asks for none.
	Framing Framing
	// EventID is the field whose value is the id of an event; empty, or where a message has no such field: a running number.
	EventID string
	// KeepAlive is the silence after which a stream of events gets a comment; 0 for none.
	KeepAlive time.Duration
}

// defaultMaxBodySize is grpc-go's default for a message.
const defaultMaxBodySize = 4 << 20

// Method is one gRPC method behind one HTTP binding. It is immutable and safe for concurrent use.
type Method struct {
	method   *descriptors.Method
	options  Options
	template *routing.Template // nil at the method's own path
	vars     []fieldPath       // what the template's variables are for, in its order
	query    *query
	mask     *updateMask // nil where none is filled
	hasBody  bool
	request  codec.Request
	response codec.Response
	form     *form        // nil where forms are not taken
	rawIn    *rawRequest  // nil where the body is not google.api.HttpBody
	rawOut   *rawResponse // nil where the answer is not
	forward  forwarding
	back     returning
	stream   *grpc.StreamDesc // nil for a unary method
	eventID  *eventID         // nil: events are numbered
}

// Compile compiles a binding. Its error says what in the binding does not fit the method.
func Compile(m *descriptors.Method, b descriptors.Binding, o Options) (*Method, error) {
	fail := func(err error) (*Method, error) {
		return nil, fmt.Errorf("%s: %s %s: %w", m.Descriptor.FullName(), b.HTTPMethod, b.Template, err)
	}
	t, err := routing.ParseTemplate(b.Template)
	if err != nil {
		return fail(err)
	}
	c, err := compile(m, b, o)
	if err != nil {
		return fail(err)
	}
	c.template = t
	// At its own path a method speaks the JSON of its messages, whatever they are.
	if c.rawIn, err = compileRawRequest(m.Descriptor.Input(), b, &c.options); err != nil {
		return fail(err)
	}
	c.rawOut = compileRawResponse(m.Descriptor.Output(), b)
	if !m.Descriptor.IsStreamingClient() {
		c.form = compileForm(m.Descriptor.Input(), b.Body, &c.options)
	}
	for _, name := range t.Fields() {
		path, err := resolveVariable(m.Descriptor.Input(), name)
		if err != nil {
			return fail(fmt.Errorf("variable {%s}: %w", name, err))
		}
		if c.rawIn != nil && string(path[0].Name()) == b.Body {
			return fail(fmt.Errorf("variable {%s}: is a field of the body, which goes to the backend as it comes", name))
		}
		c.vars = append(c.vars, path)
		c.query.bound = append(c.query.bound, path)
	}
	return c, nil
}

// WithBackend returns the method as another backend serves it. They share what is compiled.
func (m *Method) WithBackend(b Backend) *Method {
	other := *m
	other.options.Backend = b
	return &other
}

// resolveVariable finds the field of a path variable, which is no list and no message without a text form
// (google/api/http.proto).
func resolveVariable(md protoreflect.MessageDescriptor, name string) (fieldPath, error) {
	path, err := ResolvePath(md, name)
	if err != nil {
		return nil, err
	}
	last := path[len(path)-1]
	if last.IsList() {
		return nil, errors.New("is a repeated field, which no path variable can be for")
	}
	return path, codec.CheckParam(last)
}

// CompileRPC compiles the binding that every method has: POST /package.Service/Method with the message as the body.
func CompileRPC(m *descriptors.Method, o Options) (*Method, error) {
	c, err := compile(m, descriptors.Binding{HTTPMethod: http.MethodPost, Template: m.FullMethod, Body: "*"}, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Descriptor.FullName(), err)
	}
	return c, nil
}

func compile(m *descriptors.Method, b descriptors.Binding, o Options) (*Method, error) {
	if o.Codec == nil {
		o.Codec = codec.Reference
	}
	if o.JSON.Resolver == nil {
		o.JSON.Resolver = m.Service.Resolver()
	}
	if o.MaxBodySize <= 0 {
		o.MaxBodySize = defaultMaxBodySize
	}
	input := m.Descriptor.Input()
	c := &Method{
		method:  m,
		options: o,
		hasBody: b.Body != "",
		query:   compileQuery(input, b.Body == "*", &o),
		forward: compileForward(o.ForwardHeaders),
		back:    compileReturn(o.ReturnHeaders),
	}
	if !o.KeepUpdateMask {
		c.mask = compileUpdateMask(input, b)
	}
	if fd := input.Fields().ByName(protoreflect.Name(b.Body)); fd != nil {
		c.query.bound = append(c.query.bound, fieldPath{fd})
	}
	var err error
	if c.request, err = o.Codec.CompileRequest(input, b.Body, o.JSON); err != nil {
		return nil, err
	}
	if c.response, err = o.Codec.CompileResponse(m.Descriptor.Output(), b.ResponseBody, o.JSON); err != nil {
		return nil, err
	}
	if client, server := m.Descriptor.IsStreamingClient(), m.Descriptor.IsStreamingServer(); client || server {
		c.stream = &grpc.StreamDesc{StreamName: string(m.Descriptor.Name()), ClientStreams: client, ServerStreams: server}
		if server {
			c.forward = compileForward(append([]string{"Last-Event-ID"}, o.ForwardHeaders...))
			if c.eventID, err = compileEventID(m.Descriptor.Output(), o.Streams.EventID); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// Template returns the binding's path template, nil at the method's own path.
func (m *Method) Template() *routing.Template { return m.template }

// FullMethod returns "/package.Service/Method".
func (m *Method) FullMethod() string { return m.method.FullMethod }

// Serve answers one request. vars are the variables of the template, as routing.Table.Match gives them.
func (m *Method) Serve(w http.ResponseWriter, r *http.Request, vars routing.Vars) {
	timeout, err := CallTimeout(r.Header, m.options.Timeout)
	if err != nil {
		m.fail(w, r, &codec.Error{Reason: err.Error()})
		return
	}
	if m.stream == nil {
		m.serveUnary(w, r, vars, timeout)
		return
	}
	ctx, stop, err := m.callContext(r, timeout)
	defer stop()
	switch {
	case err != nil:
		m.fail(w, r, err)
	case m.stream.ClientStreams:
		m.serveClientStream(ctx, w, r, vars)
	default:
		m.serveServerStream(ctx, w, r, vars)
	}
}

// callContext returns the context of a stream: with its deadline, and with metadata made of the request's headers. stop
// must be called in any case.
func (m *Method) callContext(r *http.Request, timeout time.Duration) (ctx context.Context, stop context.CancelFunc, err error) {
	ctx, stop = r.Context(), func() {}
	md, err := m.forward.metadata(nil, r)
	if err != nil {
		return ctx, stop, err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, md...)
	if timeout > 0 {
		ctx, stop = context.WithTimeout(ctx, timeout)
	}
	return ctx, stop, nil
}

// params appends a parameter for each of the query, then for each variable of the path, and those that the body makes
// besides what it is.
func (m *Method) params(dst []codec.Param, vars routing.Vars, rawQuery string, body []byte) ([]codec.Param, error) {
	ofForm := len(dst)
	dst, err := m.query.parse(dst, rawQuery)
	if err != nil {
		return dst, err
	}
	for i := range m.vars[:min(len(m.vars), len(vars))] {
		dst = append(dst, codec.Param{Path: m.vars[i], Value: vars[i].Value})
	}
	if m.mask != nil {
		return m.mask.fill(dst, ofForm, body)
	}
	return dst, nil
}
