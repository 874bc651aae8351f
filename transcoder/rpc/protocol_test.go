package rpc

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProtocolsAreToldApartByContentType(t *testing.T) {
	for _, c := range []struct {
		method, target, contentType string
		version                     bool // with a Connect-Protocol-Version
		want                        Protocol
	}{
		{"POST", "/s/M", "", false, None},
		{"POST", "/s/M", "application/grpc", false, GRPC},
		{"POST", "/s/M", "application/grpc+proto", false, GRPC},
		{"POST", "/s/M", "application/grpc+json;x=y", false, GRPC},
		{"POST", "/s/M", "Application/gRPC", false, GRPC},
		{"DELETE", "/s/M", "application/grpc", false, GRPC},
		{"POST", "/s/M", "application/grpcx", false, None},
		{"POST", "/s/M", "application/grpc-web", false, GRPCWeb},
		{"POST", "/s/M", "application/grpc-web+proto", false, GRPCWeb},
		{"POST", "/s/M", "application/grpc-web+proto; charset=utf-8", false, GRPCWeb},
		{"POST", "/s/M", "application/grpc-web-text", false, GRPCWebText},
		{"POST", "/s/M", "application/grpc-web-text+proto", false, GRPCWebText},
		{"POST", "/s/M", "application/grpc-web-texts", false, None},
		{"POST", "/s/M", "application/connect+proto", false, ConnectStream},
		{"POST", "/s/M", "application/connect+json", true, ConnectStream},
		{"POST", "/s/M", "application/connected", false, None},
		{"POST", "/s/M", "application/proto", false, Connect},
		{"POST", "/s/M", "application/proto ;x", false, Connect},
		{"POST", "/s/M", "application/json", false, None},
		{"POST", "/s/M", "application/json", true, Connect},
		{"POST", "/s/M", "application/json; charset=utf-8", true, Connect},
		{"POST", "/s/M", "application/json; charset=utf-8", false, None},
		{"POST", "/s/M?connect=v1", "application/json", false, None},
		{"POST", "/s/M", "text/plain", true, Connect},
		{"POST", "/s/M", "text/plain", false, None},
		{"GET", "/s/M", "", false, None},
		{"GET", "/s/M?connect=v1", "", false, ConnectGet},
		{"GET", "/s/M?a=b&connect=v1&encoding=json", "", false, ConnectGet},
		{"GET", "/s/M?reconnect=v1", "", false, None},
		{"GET", "/s/M?connect=v10", "", false, None},
		{"GET", "/s/M?connect=v10&connect=v1", "", false, ConnectGet},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		if c.version {
			r.Header.Set("Connect-Protocol-Version", "1")
		}
		if got := Detect(r); got != c.want {
			t.Errorf("%s %s of %q, version %v: protocol %d, want %d", c.method, c.target, c.contentType, c.version, got, c.want)
		}
	}
}

func TestDetectingAllocatesNothing(t *testing.T) {
	json := httptest.NewRequest("POST", "/v1/items", nil)
	json.Header = http.Header{"Content-Type": {"application/json"}}
	web := httptest.NewRequest("POST", "/s/M", nil)
	web.Header = http.Header{"Content-Type": {"application/grpc-web+proto"}}
	get := httptest.NewRequest("GET", "/v1/items?page_size=7", nil)
	if n := testing.AllocsPerRun(100, func() { Detect(json); Detect(web); Detect(get) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
