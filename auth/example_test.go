package auth_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
)

// headers are the credentials of a request that has nothing but headers.
type headers http.Header

func (h headers) Header(name string) string { return http.Header(h).Get(name) }
func (headers) Cookie(string) string        { return "" }
func (headers) Query(string) string         { return "" }
func (headers) Subprotocol(string) string   { return "" }
func (headers) Certificate() string         { return "" }

func Example() {
	providers, err := auth.Compile([]config.AuthProvider{{
		Name:    "partners",
		APIKeys: &config.APIKeys{Keys: []config.APIKey{{ID: "acme", Key: "s3cret", Scopes: []string{"read"}}}},
	}}, auth.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer providers.Close()
	policy, err := providers.Policy(&config.RouteAuth{Require: []string{"partners"}, Scopes: []string{"write"}})
	if err != nil {
		fmt.Println(err)
		return
	}

	caller := headers{}
	_, _, err = policy.Authenticate(context.Background(), caller)
	fmt.Println(err)

	http.Header(caller).Set("X-API-Key", "s3cret")
	id, _, err := policy.Authenticate(context.Background(), caller)
	fmt.Println(id.User, id.Scopes, err)
	fmt.Println(policy.Authorize(id))
	// Output:
	// a credential is needed
	// acme [read] <nil>
	// the scope "write" is missing
}
