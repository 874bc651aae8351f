package gateway

import (
	"net/http"
	"testing"
	"time"

	"github.com/crossgate/crossgate/config"
)

func TestSecurityHeadersAllocateNothing(t *testing.T) {
	rules := compileSecurityHeaders(&config.SecurityHeaders{
		HSTS: &config.HSTS{MaxAge: config.Duration(time.Hour)}, NoSniff: true, FrameOptions: "deny", ContentSecurityPolicy: "default-src 'self'",
	})
	client := nothing{http.Header{}}
	w := new(recorder)
	if n := testing.AllocsPerRun(100, func() {
		clear(client.header)
		*w = recorder{ResponseWriter: client, security: rules, overTLS: true}
		w.WriteHeader(200)
	}); n > 1 { // client, which becomes an interface
		t.Errorf("%v allocations", n)
	}
	if len(client.header) != 4 {
		t.Errorf("headers %v", client.header)
	}
}
