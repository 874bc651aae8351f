package integration

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/rig"
)

// TestAClientThatVanishesEndsItsStream though it closes nothing, and though what it is sent is too little to fill a buffer.
func TestAClientThatVanishesEndsItsStream(t *testing.T) {
	ended := make(chan struct{}, 1)
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := io.WriteString(w, "data: 1\n\n"); err != nil {
				break
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
				continue
			case <-r.Context().Done():
			}
			break
		}
		ended <- struct{}{}
	})
	g := rig.StartGateway(t, `
listeners: [{address: "127.0.0.1:0", write_timeout: 1s}]
admin: {address: "off"}
drain: {timeout: 1s}
upstreams: [{name: app, protocol: http, endpoints: ["`+address+`"]}]
routes: [{name: events, match: {path: /}, http: {upstream: app}, timeout: 0s}]
`)
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatal(line, err)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// From here on nothing that comes is confirmed: the kernel drops it before TCP sees it.
	if err := raw.Control(func(fd uintptr) {
		//lint:ignore SA1019 what takes its place assembles programs, and this one has a single instruction
		if err := syscall.AttachLsf(int(fd), []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K}}); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(60 * time.Second):
		t.Error("the stream goes on")
	}
}
