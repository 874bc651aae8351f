package telemetry_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
)

func Example() {
	t := telemetry.New(config.Log{Level: "info", Format: "json"}, os.Stderr)
	defer t.Close()

	shop := t.Route("shop") // once, when the configuration is loaded
	shop.Observe(telemetry.REST, 200, 3*time.Millisecond, 120, 480)

	w := httptest.NewRecorder()
	t.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "crossgate_requests_total") {
			fmt.Print(line)
		}
	}
	// Output: crossgate_requests_total{code="200",protocol="rest",route="shop"} 1
}
