package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// TestNothingFollowsAnAnswerThatComesBeforeTheRequestsEnd guards against taking the rest of a request of HTTP/1.1 for the
// next one, which would be one that nobody has authenticated where a proxy shares its connections.
func TestNothingFollowsAnAnswerThatComesBeforeTheRequestsEnd(t *testing.T) {
	g := oneRoute(t, testserver.Start(t).Address, "", "")
	for name, c := range map[string]struct{ path, contentType, bad string }{
		"REST":     {"/stream/v1/talk", "application/x-ndjson", `{"text":"a"} {"text":1}`},
		"gRPC-Web": {testproto.Streams_Talk_FullMethodName, "application/grpc-web", "\x80\x00\x00\x00\x00"},
		"Connect":  {testproto.Streams_Talk_FullMethodName, "application/connect+json", "\x02\x00\x00\x00\x01{"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", strings.TrimPrefix(g.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(rig.Patience)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n",
				c.path, c.contentType, len(c.bad), c.bad)
			reader := bufio.NewReader(conn)
			answer, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				t.Fatal(err)
			}
			// This is still the body.
			fmt.Fprintf(conn, "GET /bind/v1/one/x HTTP/1.1\r\nHost: x\r\n\r\n")
			rest, err := io.ReadAll(reader)
			if len(rest) > 0 {
				t.Errorf("the connection goes on: %q", rest)
			}
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Error("the connection stays open")
			}
		})
	}
}
