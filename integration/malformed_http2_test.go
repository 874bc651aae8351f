package integration

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// askHTTP2 sends a request of HTTP/2 as it is, and returns the status of the answer, or the code that its stream was reset
// with. Without data the header ends the stream.
func askHTTP2(t *testing.T, address, data string, fields ...string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(soon(t), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(fields...), EndHeaders: true, EndStream: data == ""}); err != nil {
		t.Fatal(err)
	}
	if data != "" {
		if err := f.WriteData(1, true, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return frame.ErrCode.String()
		}
	}
}

// TestAMalformedRequestOfHTTP2ReachesNoBackend by what net/http lets pass, or refuses too late.
func TestAMalformedRequestOfHTTP2ReachesNoBackend(t *testing.T) {
	reached := make(chan string, 100)
	address := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reached <- r.Method
	})
	g := httpGateway(t, address, "", httpRoutes)
	get := []string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/a"}
	post := []string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/a"}
	const reset = "PROTOCOL_ERROR"
	for name, c := range map[string]struct {
		fields []string
		data   string
		want   string
	}{
		"in order":                              {get, "", "200"},
		"a length that is right":                {append(post, "content-length", "3"), "abc", "200"},
		"Host beside the same :authority":       {append(get, "host", "x"), "", "200"},
		"a value that begins with a space":      {append(get, "x-role", " admin"), "", "400"},
		"a value that ends with a tab":          {append(get, "x-role", "admin\t"), "", "400"},
		"a value with a newline":                {append(get, "x-role", "a\nb: c"), "", reset},
		"a name in upper case":                  {append(get, "X-Role", "a"), "", reset},
		"a header of the connection":            {append(get, "connection", "x-role"), "", "400"},
		"a transfer coding":                     {append(post, "transfer-encoding", "chunked"), "abc", "400"},
		"Host beside another :authority":        {append(get, "host", "y"), "", "400"},
		"two Hosts":                             {append(get, "host", "x", "host", "x"), "", "400"},
		"an authority with a space":             {[]string{":method", "GET", ":scheme", "http", ":authority", "x y", ":path", "/a"}, "", "400"},
		"a method with spaces":                  {[]string{":method", "GET /b HTTP/1.1", ":scheme", "http", ":authority", "x", ":path", "/a"}, "", "400"},
		"two paths":                             {append(get, ":path", "/b"), "", reset},
		"two lengths":                           {append(post, "content-length", "3", "content-length", "4"), "abc", "400"},
		"a length that is none":                 {append(post, "content-length", "x"), "", "400"},
		"a length of a request without a body":  {append(post, "content-length", "3"), "", "400"},
		"a query that would end a request line": {[]string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/a?b HTTP/1.1"}, "", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := askHTTP2(t, g.Addresses()[0].String(), c.data, c.fields...); got != c.want {
				t.Errorf("answered %s, want %s", got, c.want)
			}
			select {
			case method := <-reached:
				if c.want != "200" {
					t.Errorf("the backend got %s", method)
				}
			default:
				if c.want == "200" {
					t.Error("the backend got nothing")
				}
			}
		})
	}
}
