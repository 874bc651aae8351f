package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http/httpguts"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/routing"
)

// checkMethod is what an authorisation service serves.
const checkMethod = "/envoy.service.auth.v3.Authorization/Check"

const (
	// maxChanges bounds how many headers an answer may set.
	maxChanges = 100
	// maxDeniedBody bounds the body it may give a refusal.
	maxDeniedBody = 64 << 10
)

// Caller makes unary gRPC calls of one upstream, with messages in wire format.
type Caller interface {
	Call(ctx context.Context, method string, request []byte) ([]byte, error)
}

// Question is a request that rules and authorisation services are asked about.
type Question struct {
	ID       string // of the request
	Method   string
	Host     string
	Path     string
	Query    string
	Protocol string
	Upgrade  bool
	Header   http.Header
	Client   netip.Addr
	Identity *Identity
	Vars     routing.Vars
	Route    string
	Binding  string
	Calls    string // the gRPC method; "" for none
	Message  Message
	Body     []byte // its start, where a service is told it
	Partial  bool   // and there is more
}

// Message is a frame of a session, for rules about messages.
type Message struct {
	Type    string // message, subscribe or presence
	Route   string // of the service, of a message
	Channel string
	Data    []byte // JSON; nil for what is none
	Size    int    // of the frame, in bytes
}

// External is the authorisation service of a route. It is immutable.
type External struct {
	caller  Caller
	timeout time.Duration
	open    bool // without an answer requests pass
	all     bool // headers
	exact   map[string]bool
	prefix  []string
	context map[string]string
	body    *config.ExternalBody // nil for none
}

// Body returns how much of a request's body the service is told, 0 for none, and whether it may be less than all.
func (e *External) Body() (most int64, partial bool) {
	if e == nil || e.body == nil {
		return 0, false
	}
	return int64(e.body.MaxSize), e.body.AllowPartial
}

// Denied is how an authorisation service wants a refusal to look.
type Denied struct {
	Status int
	Header []HeaderChange
	Body   string
}

// CompileExternal compiles what a route asks an authorisation service.
func CompileExternal(route string, cfg *config.ExternalAuth, caller Caller) *External {
	e := &External{
		caller: caller, timeout: cfg.Timeout.Std(), open: cfg.OnFailure == "allow", all: len(cfg.Headers) == 0,
		exact: map[string]bool{}, context: map[string]string{}, body: cfg.Body,
	}
	for _, name := range cfg.Headers {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			e.prefix = append(e.prefix, textproto.CanonicalMIMEHeaderKey(prefix))
		} else {
			e.exact[textproto.CanonicalMIMEHeaderKey(name)] = true
		}
	}
	for key, value := range cfg.Context {
		e.context[key] = value
	}
	e.context["route"] = route
	return e
}

// Check asks about a request. failed says that there was no answer, whatever became of the request then. The error is an
// *Error, with Answer where the service has worded the refusal.
func (e *External) Check(ctx context.Context, q *Question) (changes *Changes, failed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	answer, err := e.ask(ctx, q)
	if err != nil {
		if e.open {
			return nil, true, nil
		}
		return nil, true, &Error{Unavailable: true, Reason: "whether the request may pass cannot be found out now"}
	}
	if codes.Code(answer.GetStatus().GetCode()) == codes.OK {
		return allowed(answer.GetOkResponse()), false, nil
	}
	return nil, false, denied(answer.GetDeniedResponse())
}

func (e *External) ask(ctx context.Context, q *Question) (*authv3.CheckResponse, error) {
	request, err := proto.Marshal(e.request(q))
	if err != nil {
		return nil, err
	}
	raw, err := e.caller.Call(ctx, checkMethod, request)
	if err != nil {
		return nil, err
	}
	answer := new(authv3.CheckResponse)
	if err := proto.Unmarshal(raw, answer); err != nil {
		return nil, err
	}
	if answer.GetErrorResponse() != nil {
		return nil, errors.New("the service says that it has failed")
	}
	return answer, nil
}

func (e *External) request(q *Question) *authv3.CheckRequest {
	http := &authv3.AttributeContext_HttpRequest{
		Id: q.ID, Method: q.Method, Host: q.Host, Path: q.Path, Protocol: q.Protocol, Scheme: "http", Size: -1,
		Headers: make(map[string]string, len(q.Header)),
	}
	for name, values := range q.Header {
		if e.tells(name) {
			http.Headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(values, ","), "\uFFFD")
		}
	}
	if q.Query != "" {
		http.Path += "?" + q.Query
	}
	if e.body != nil && q.Body != nil {
		http.Headers["x-envoy-auth-partial-body"] = strconv.FormatBool(q.Partial) // a client's own is overwritten
		if e.body.Raw {
			http.RawBody = q.Body
		} else {
			http.Body = strings.ToValidUTF8(string(q.Body), "\uFFFD")
		}
	}
	http.Path, http.Host = strings.ToValidUTF8(http.Path, "\uFFFD"), strings.ToValidUTF8(http.Host, "\uFFFD")
	source := &authv3.AttributeContext_Peer{Principal: q.Identity.User}
	if q.Client.IsValid() {
		source.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: q.Client.Unmap().String(), PortSpecifier: &corev3.SocketAddress_PortValue{},
		}}}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:            source,
		Request:           &authv3.AttributeContext_Request{Time: timestamppb.Now(), Http: http},
		ContextExtensions: e.context,
	}}
}

func (e *External) tells(name string) bool {
	if e.all || e.exact[name] {
		return true
	}
	for _, p := range e.prefix {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// allowed reads what an answer changes about the request; nil for nothing.
func allowed(ok *authv3.OkHttpResponse) *Changes {
	if len(ok.GetHeaders())+len(ok.GetHeadersToRemove())+len(ok.GetResponseHeadersToAdd()) == 0 {
		return nil
	}
	c := &Changes{Request: headerChanges(ok.GetHeaders()), Answer: headerChanges(ok.GetResponseHeadersToAdd())}
	for _, name := range ok.GetHeadersToRemove() {
		if name = changeable(name); name != "" && len(c.Remove) < maxChanges {
			c.Remove = append(c.Remove, name)
		}
	}
	return c
}

func denied(answer *authv3.DeniedHttpResponse) *Error {
	d := &Denied{Status: int(answer.GetStatus().GetCode()), Header: headerChanges(answer.GetHeaders()), Body: answer.GetBody()}
	if d.Status < 300 || d.Status > 599 {
		d.Status = http.StatusForbidden
	}
	if len(d.Body) > maxDeniedBody {
		d.Body = d.Body[:maxDeniedBody]
	}
	return &Error{Denied: d.Status != http.StatusUnauthorized, Reason: "the authorisation service denies the request", Answer: d}
}

// headerChanges reads headers. Those that are not for it to set, or that HTTP cannot carry, are passed over.
func headerChanges(list []*corev3.HeaderValueOption) []HeaderChange {
	var changes []HeaderChange
	for _, one := range list {
		value := one.GetHeader().GetValue()
		if raw := one.GetHeader().GetRawValue(); value == "" && len(raw) > 0 {
			value = string(raw)
		}
		name := changeable(one.GetHeader().GetKey())
		if name == "" || !httpguts.ValidHeaderFieldValue(value) || len(changes) == maxChanges {
			continue
		}
		changes = append(changes, HeaderChange{Name: name, Value: value, How: howOf(one)})
	}
	return changes
}

// howOf reads what a change does. In answers of this service a header replaces what is there unless they say otherwise,
// and the enum's zero is what is left out.
func howOf(o *corev3.HeaderValueOption) How {
	//lint:ignore SA1019 deprecated, and what most services set
	if appended := o.GetAppend(); appended != nil {
		if appended.GetValue() {
			return Append
		}
		return Replace
	}
	switch o.GetAppendAction() {
	case corev3.HeaderValueOption_ADD_IF_ABSENT:
		return IfAbsent
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
		return IfPresent
	}
	return Replace
}
