package integration

import (
	"io"
	"net/http"
	"testing"
)

// BenchmarkCachedAnswer asks a gateway for one small answer over one connection, with a cache and without. Client, gateway and
// backend are one process.
func BenchmarkCachedAnswer(b *testing.B) {
	address := httpBackend(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1000")
		_, _ = io.WriteString(w, "hello")
	})
	g := httpGateway(b, address, "", `
  - {name: kept, match: {path_prefix: /kept/}, http: {upstream: app}, cache: {}}
  - {name: fetched, match: {path_prefix: /fetched/}, http: {upstream: app}}
`)
	for _, path := range []string{"kept", "fetched"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+g.Addresses()[0].String()+"/"+path+"/a", http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				answer, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		})
	}
}
