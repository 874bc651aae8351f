package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAVerdictNeedsSoManyAnswersInARow(t *testing.T) {
	for _, c := range []struct{ name, answers, verdicts string }{
		{"well from the start", "++++", "    "},
		{"the first answer is one by itself", "-++", "- +"},
		{"three in a row", "+---+", "   - "},
		{"not with one between them", "+--+--+", "       "},
		{"two make it well again", "+---+-++", "   -   +"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			got := []byte(strings.Repeat(" ", len(c.verdicts)))
			n := -1
			check := func(context.Context) error {
				if n++; n == len(c.answers) {
					cancel()
					return nil
				}
				if c.answers[n] == '-' {
					return errors.New("ill")
				}
				return nil
			}
			Run(ctx, check, Options{Interval: time.Microsecond, Timeout: time.Second, Unhealthy: 3, Healthy: 2}, new(Record), func(err error) {
				if got[n] = '+'; err != nil {
					got[n] = '-'
				}
			})
			if string(got) != c.verdicts {
				t.Errorf("verdicts %q, want %q", got, c.verdicts)
			}
		})
	}
}

func TestACopyOfARecordGoesOnCounting(t *testing.T) {
	o := &Options{Interval: time.Hour, Unhealthy: 3, Healthy: 2}
	ill := errors.New("ill")
	r := new(Record)
	for i, err := range []error{nil, ill, ill} {
		if r.note(err, o) {
			t.Fatalf("answer %d is a verdict", i)
		}
	}
	of := r.Copy()
	if of.Unwell() || of.wait() < time.Minute {
		t.Error("the copy is unwell already, or asks before it is due")
	}
	if !of.note(ill, o) || !of.Unwell() || r.Unwell() {
		t.Error("the third answer in a row is no verdict, or one of both records")
	}
	if again := of.Copy(); again.note(nil, o) || !again.note(nil, o) {
		t.Error("an unwell backend does not come back with the second good answer")
	}
}

func TestChecksOfRealServers(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != "shop.test":
			w.WriteHeader(http.StatusMisdirectedRequest)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case r.URL.Path == "/slow":
			<-r.Context().Done()
		case r.URL.Path == "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer page.Close()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()

	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := grpchealth.NewServer()
	said.SetServingStatus("shop.v1.Catalog", healthpb.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, said)
	go server.Serve(socket)
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:///"+socket.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dial := func(address string) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) }
	}
	for _, c := range []struct {
		name  string
		check Check
		why   string // a part of it; empty for well
	}{
		{"HTTP 200", HTTP(transport, page.URL, "shop.test"), ""},
		{"HTTP 503", HTTP(transport, page.URL+"/sick", "shop.test"), "HTTP 503"},
		{"a redirect", HTTP(transport, page.URL+"/moved", "shop.test"), "HTTP 302"},
		{"another host", HTTP(transport, page.URL, ""), "HTTP 421"},
		{"no answer in time", HTTP(transport, page.URL+"/slow", "shop.test"), "deadline"},
		{"TCP", TCP(dial(socket.Addr().String())), ""},
		{"TCP to nobody", TCP(dial("127.0.0.1:1")), "refused"},
		{"gRPC", GRPC(conn, ""), ""},
		{"gRPC that does not serve", GRPC(conn, "shop.v1.Catalog"), "NOT_SERVING"},
		{"gRPC that does not know the service", GRPC(conn, "shop.v1.Other"), "NotFound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			patience := time.Minute
			if c.why == "deadline" {
				patience = 50 * time.Millisecond
			}
			err := ask(context.Background(), c.check, patience)
			if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
				t.Errorf("%v, want %q", err, c.why)
			}
		})
	}
}
