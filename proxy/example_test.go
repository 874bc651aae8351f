package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/proxy"
	"github.com/crossgate/crossgate/routing"
)

// one is a backend of one server; upstream.Pool is one of several.
type one string

func (address one) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = "http", string(address)
	return http.DefaultTransport.RoundTrip(r)
}

func Example() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.URL.RequestURI(), r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Shop"))
	}))
	defer backend.Close()
	address, _ := url.Parse(backend.URL)
	template, _ := routing.ParseTemplate("/shops/{shop}/**")
	h, err := proxy.Compile(&config.HTTPRoute{
		Host: "keep", Forwarded: "x_forwarded", AddPrefix: "/v2",
		RequestHeaders: config.HeaderEdits{Set: map[string]string{"X-Shop": "{path.shop}"}},
	}, proxy.Options{Backend: one(address.Host), Template: template, MaxBody: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest("GET", "/shops/7/items?all", nil)
	w := httptest.NewRecorder()
	e := h.Serve(w, r, &proxy.Call{
		Path: "/shops/7/items", Vars: routing.Vars{{Name: "shop", Value: "7"}}, Hops: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	})
	if e != nil {
		fmt.Println(e)
		return
	}
	body, _ := io.ReadAll(w.Body)
	fmt.Print(string(body))
	// Output: /v2/shops/7/items?all 192.0.2.1 7
}
