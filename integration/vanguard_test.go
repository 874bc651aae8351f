package integration

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/vanguard"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// vanguardGateway serves the test services as REST by vanguard, with its defaults.
func vanguardGateway(t testing.TB, backend string) string {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend})
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorLog = log.New(io.Discard, "", 0) // it logs each call that vanguard gives up
	var services []*vanguard.Service
	for _, name := range []string{testproto.Echo_ServiceDesc.ServiceName, testproto.Bindings_ServiceDesc.ServiceName, testproto.Control_ServiceDesc.ServiceName} {
		services = append(services, vanguard.NewService(name, proxy,
			vanguard.WithTargetProtocols(vanguard.ProtocolGRPC), vanguard.WithTargetCodecs(vanguard.CodecProto), vanguard.WithNoTargetCompression()))
	}
	transcoder, err := vanguard.NewTranscoder(services)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(transcoder)
	t.Cleanup(server.Close)
	return server.URL
}

// difference is one way in which two gateways answer differently.
type difference struct {
	why   string
	meant func(r exchange, code, peerCode int) bool
}

// vanguardDiffers is what vanguard answers otherwise than the gateway, on purpose of ours, and why.
var vanguardDiffers = []difference{
	{"a body that is not what the method takes is the caller's fault: 400 and INVALID_ARGUMENT, not 500 and UNKNOWN",
		func(r exchange, code, peerCode int) bool { return r.body != "" && code == 400 && peerCode == 500 }},
	{"an empty body is an empty message, not a call without one",
		func(r exchange, code, peerCode int) bool {
			return r.method == "POST" && r.body == "" && code == 200 && peerCode == 500
		}},
	{"a path that nothing serves is a google.rpc.Status too",
		func(r exchange, code, peerCode int) bool {
			return code == 404 && strings.HasPrefix(r.path, "/bind/v1/nothing")
		}},
	{"an empty update_mask gets the paths of the body's fields",
		func(r exchange, code, peerCode int) bool {
			return r.method == "PATCH" && r.path == "/bind/v1/update/x" && code == 200 && peerCode == 200
		}},
}

// TestDifferentialVanguard sends the requests of TestDifferential to the gateway and to vanguard, which transcodes from
// descriptors too. Statuses are equal and so are answers, as JSON; of an error the code counts, not the words.
func TestDifferentialVanguard(t *testing.T) {
	backend := testserver.Start(t)
	g := rig.StartGateway(t, fmt.Sprintf(besidePeer, backend.Address, "grpc: {upstream: test, unknown_query: ignore, json: {unknown: ignore}}"))
	peer := vanguardGateway(t, backend.Address)
	seen := make([]bool, len(vanguardDiffers))
	for _, r := range exchanges() {
		code, got := r.send(t, g.URL)
		peerCode, want := r.send(t, peer)
		text, peerText := got, want
		if peerCode >= 400 {
			text, peerText = onlyCode(got), onlyCode(want)
		}
		if code == peerCode && sameJSON(text, peerText) {
			continue
		}
		if i := slices.IndexFunc(vanguardDiffers, func(d difference) bool { return d.meant(r, code, peerCode) }); i >= 0 {
			seen[i] = true
			continue
		}
		t.Errorf("%s %s %s:\n%d %s\nvanguard\n%d %s", r.method, r.path, r.body, code, got, peerCode, want)
	}
	for i, d := range vanguardDiffers {
		if !seen[i] {
			t.Errorf("vanguard does not differ any more: %s", d.why)
		}
	}
}
