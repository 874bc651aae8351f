package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
)

// policyRequest is a request that can be made in every protocol.
type policyRequest struct {
	header http.Header
	tls    *tls.Config // nil: in clear text
	slow   bool        // the backend does not answer it; a session goes on
	size   int         // of its body, where that matters
	// begun is called, where it is set, by protocols whose backend is the gateway itself, as that serves the request.
	begun func()
}

// verdict is how a request ended.
type verdict struct {
	http   int        // 0 where the protocol has no HTTP status
	code   codes.Code // noCode where it has no code
	reason string     // of the gateway's ErrorInfo; unsaid where the protocol has no room for one
	header http.Header
}

const (
	noCode codes.Code = 99
	unsaid            = "?"
)

// is reports whether a verdict is the one wanted, as far as its protocol can tell.
func (v verdict) is(want verdict) bool {
	return (v.http == 0 || v.http == want.http) && (v.code == noCode || v.code == want.code) && (v.reason == unsaid || want.reason == unsaid || v.reason == want.reason)
}

func (v verdict) String() string {
	return fmt.Sprintf("HTTP %d, code %d, reason %q", v.http, v.code, v.reason)
}

// policyProtocol is how requests of one protocol are made.
type policyProtocol struct {
	name string
	ask  func(ctx context.Context, t testing.TB, g *rig.Gateway, r policyRequest) verdict
}

var policyProtocols = []policyProtocol{
	{"REST", askREST}, {"gRPC", askGRPC}, {"HTTP", askHTTP}, {"WebSocket", askSession}, {"gRPC over WebSocket", askSocketCall},
}

// base is the address of a gateway's listener: of TLS it is the second.
func (r policyRequest) base(g *rig.Gateway) string {
	if r.tls != nil {
		return "https://" + g.Addresses()[1].String()
	}
	return g.URL
}

// message is the JSON of a request message of the size asked for.
func (r policyRequest) message() []byte {
	return []byte(`{"note":"` + strings.Repeat("x", r.size) + `"}`)
}

func askREST(ctx context.Context, t testing.TB, g *rig.Gateway, r policyRequest) verdict {
	path := "/bind/v1/one/x"
	if r.size > 0 {
		path = "/bind/v1/all"
	}
	return r.overHTTP(ctx, t, g, path, "Grpc-Metadata-X-Test-Delay")
}

func askHTTP(ctx context.Context, t testing.TB, g *rig.Gateway, r policyRequest) verdict {
	return r.overHTTP(ctx, t, g, "/http/x", "X-Test-Delay")
}

func (r policyRequest) overHTTP(ctx context.Context, t testing.TB, g *rig.Gateway, path, delay string) verdict {
	method, body := http.MethodGet, io.Reader(nil)
	if r.size > 0 {
		method, body = http.MethodPost, bytes.NewReader(r.message())
	}
	request, err := http.NewRequestWithContext(ctx, method, r.base(g)+path, body)
	if err != nil {
		t.Error(err)
		return verdict{}
	}
	request.Header = r.metadata("Grpc-Metadata-", delay)
	if r.size > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	client := http.DefaultClient
	if r.tls != nil {
		transport := &http.Transport{TLSClientConfig: r.tls}
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport}
	}
	answer, err := client.Do(request)
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return verdict{}
	}
	defer answer.Body.Close()
	return readVerdict(answer)
}

// metadata is what the request has of headers: those of the backend's own also under a prefix, as transcoded calls hand them on.
func (r policyRequest) metadata(prefix, delay string) http.Header {
	h := r.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if id := h.Get("X-Call"); id != "" {
		h.Set(prefix+"X-Call", id)
	}
	if r.slow {
		h.Set(delay, "60s")
	}
	return h
}

// readVerdict reads an answer over HTTP, which is a google.rpc.Status where it is the gateway's own refusal.
func readVerdict(answer *http.Response) verdict {
	v := verdict{http: answer.StatusCode, code: noCode, header: answer.Header}
	body, _ := io.ReadAll(answer.Body)
	var s struct {
		Code    *codes.Code
		Details []struct{ Reason string }
	}
	if v.http != http.StatusOK && v.http != http.StatusSwitchingProtocols && json.Unmarshal(body, &s) == nil && s.Code != nil {
		v.code = *s.Code
		if len(s.Details) > 0 {
			v.reason = s.Details[0].Reason
		}
	}
	return v
}

func askGRPC(ctx context.Context, t testing.TB, g *rig.Gateway, r policyRequest) verdict {
	transport := insecure.NewCredentials()
	if r.tls != nil {
		transport = credentials.NewTLS(r.tls)
	}
	_, address, _ := strings.Cut(r.base(g), "://")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(transport))
	if err != nil {
		t.Error(err)
		return verdict{}
	}
	defer conn.Close()
	for name, values := range r.metadata("", "X-Test-Delay") {
		for _, v := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), v)
		}
	}
	var back, trailer metadata.MD
	_, err = testproto.NewBindingsClient(conn).GetOne(ctx, &testproto.Bound{Name: "x", Note: strings.Repeat("x", r.size)}, grpc.Header(&back), grpc.Trailer(&trailer))
	v := verdict{code: status.Code(err), header: http.Header{}}
	for name, values := range metadata.Join(back, trailer) { // a refusal has trailers only
		v.header[http.CanonicalHeaderKey(name)] = values
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			v.reason = info.GetReason()
		}
	}
	return v
}

// dial connects a WebSocket; a refusal is a verdict.
func (r policyRequest) dial(ctx context.Context, t testing.TB, g *rig.Gateway, path string) (*websocket.Conn, verdict) {
	options := &websocket.DialOptions{HTTPHeader: r.metadata("Grpc-Metadata-", "Grpc-Metadata-X-Test-Delay")}
	if r.tls != nil {
		transport := &http.Transport{TLSClientConfig: r.tls}
		defer transport.CloseIdleConnections()
		options.HTTPClient = &http.Client{Transport: transport}
	}
	conn, answer, err := websocket.Dial(ctx, r.base(g)+path, options)
	switch {
	case err == nil:
		return conn, verdict{header: answer.Header}
	case answer == nil:
		if ctx.Err() == nil {
			t.Error(err)
		}
		return nil, verdict{}
	}
	return nil, readVerdict(answer)
}

// askSession opens a session on the bus, has a ping answered, and leaves.
func askSession(ctx context.Context, t testing.TB, g *rig.Gateway, r policyRequest) verdict {
	conn, v := r.dial(ctx, t, g, "/ws")
	if conn == nil {
		return v
	}
	defer conn.CloseNow()
	_, _, err := exchangeFrame(ctx, conn, `{"id":1,"type":"ping"}`+strings.Repeat(" ", r.size))
	if err != nil {
		return verdict{code: socketCode(websocket.CloseStatus(err)), reason: unsaid, header: v.header}
	}
	if r.begun != nil {
		r.begun()
	}
	if r.slow {
		<-ctx.Done()
	}
	return verdict{code: codes.OK, header: v.header}
}

// askSocketCall makes a call of gRPC over a WebSocket.
func askSocketCall(ctx context.Context, t testing.TB, g *rig.Gateway, r policyRequest) verdict {
	conn, v := r.dial(ctx, t, g, "/bind/v1/all")
	if conn == nil {
		return v
	}
	defer conn.CloseNow()
	_, _, err := exchangeFrame(ctx, conn, string(r.message()))
	if err == nil {
		_, _, err = conn.Read(ctx)
	}
	return verdict{code: socketCode(websocket.CloseStatus(err)), reason: unsaid, header: v.header}
}

// exchangeFrame sends a frame of text and reads the next one.
func exchangeFrame(ctx context.Context, conn *websocket.Conn, text string) (websocket.MessageType, []byte, error) {
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil && ctx.Err() != nil {
		return 0, nil, err
	}
	return conn.Read(ctx) // which tells why writing did not work
}
