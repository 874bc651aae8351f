package config_test

import (
	"fmt"

	"github.com/crossgate/crossgate/config"
)

func ExampleParse() {
	c, err := config.Parse("crossgate.yaml", []byte(`
upstreams:
  - {name: shop, endpoints: ["127.0.0.1:50051"]}
routes:
  - name: shop
    match: {path_prefix: /v1/}
    grpc: {upstream: shop}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range c.Routes {
		fmt.Println(r.Pos, r.Name, r.Match.PathPrefix, r.Timeout)
	}
	// Output: crossgate.yaml:5:5 shop /v1/ 30s
}

func ExampleErrors() {
	_, err := config.Parse("crossgate.yaml", []byte(`
routes:
  - name: shop
    match: {path_prefix: v1}
    grpc: {upstream: shop}
    timeout: 5
log: {levle: debug}
`))
	fmt.Println(err)
	// Output:
	// crossgate.yaml:5:22: there is no upstream named "shop"
	// crossgate.yaml:6:14: timeout: "5" is not a duration; expected a number with a unit, as 250ms, 5s, 10m, 2h or 7d
	// crossgate.yaml:7:7: log: unknown key "levle"; did you mean "level"?
}

func ExampleSecret() {
	token := config.Secret("correct horse battery staple")
	fmt.Printf("%v %q %x\n", token, token, token)
	fmt.Println(token.Reveal())
	// Output:
	// [redacted] [redacted] [redacted]
	// correct horse battery staple
}
