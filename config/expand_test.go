package config

import "testing"

func TestEnvironmentVariables(t *testing.T) {
	t.Setenv("CG_NAME", "shop")
	t.Setenv("CG_EMPTY", "")
	t.Setenv("CG_NUMBER", "7")
	t.Setenv("CG_INJECTION", "x\nadmin: {address: \"off\"}, ${CG_NAME} $$ *a")
	for text, want := range map[string]string{
		"plain":                     "plain",
		"${CG_NAME}":                "shop",
		"a-${CG_NAME}-${CG_NUMBER}": "a-shop-7",
		"${CG_NAME:-other}":         "shop",
		"${CG_EMPTY:-other}":        "other",
		"${CG_UNSET:-other}":        "other",
		"${CG_UNSET:-}x":            "x",
		"${CG_UNSET:-a:-b}":         "a:-b",
		"${CG_EMPTY}x":              "x",
		"$$":                        "$",
		"$${CG_NAME}":               "${CG_NAME}",
		"$$$${CG_NAME}":             "$${CG_NAME}",
		"$CG_NAME costs 5$":         "$CG_NAME costs 5$",
		"${CG_INJECTION}":           "x\nadmin: {address: \"off\"}, ${CG_NAME} $$ *a",
	} {
		c, err := Parse("c.yaml", []byte("routes: [{name: a, match: {path: /}, respond: {body: '"+text+"'}}]"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Routes[0].Respond.Body; got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
		if c.Admin.Address == "off" {
			t.Errorf("%s: brought in a key", text)
		}
	}
}

func TestEnvironmentVariablesAreReadAsTheTypeOfTheKey(t *testing.T) {
	t.Setenv("CG_NUMBER", "7")
	t.Setenv("CG_TRUE", "true")
	t.Setenv("CG_TIME", "90s")
	c := mustParse(t, `
upstreams: [{name: a, endpoints: ["a:${CG_NUMBER}"], connections: "${CG_NUMBER}", connect_timeout: "${CG_TIME}"}]
routes:
  - name: a
    match: {path: /}
    respond: {}
    cors:
      origins: [https://a.example]
      credentials: ${CG_TRUE}
`)
	if u := c.Upstreams[0]; u.Connections != 7 || u.ConnectTimeout.String() != "1m30s" || u.Endpoints[0] != "a:7" || !c.Routes[0].CORS.Credentials {
		t.Errorf("got %+v, %+v", u, c.Routes[0].CORS)
	}
}

func TestBadVariablesAreRefusedWithTheirPlace(t *testing.T) {
	testBadInput(t, []badInput{
		{"one that is not set", `
admin:
  token: ${CROSSGATE_TEST_NOT_SET}
`, `
c.yaml:2:10: token: environment variable CROSSGATE_TEST_NOT_SET is not set; set it, or write ${CROSSGATE_TEST_NOT_SET:-default}
`},
		{"one that leaves nothing", `
admin:
  token: ${CROSSGATE_TEST_NOT_SET:-}
`, `
c.yaml:2:10: token: the value is empty once environment variables are filled in
`},
		{"one that is not closed", `
admin:
  token: ${CROSSGATE_TEST_NOT_SET
`, `
c.yaml:2:10: token: ${ has no closing }; write $$ for a dollar
`},
		{"names that are none", `
listeners:
  - address: ${}
  - address: ${1A}
  - address: ${A-B}
  - address: ${A:B}
`, `
c.yaml:2:14: address: ${ must be followed by the name of an environment variable and }; write $$ for a dollar
c.yaml:3:14: address: ${ must be followed by the name of an environment variable and }; write $$ for a dollar
c.yaml:4:14: address: ${ must be followed by the name of an environment variable and }; write $$ for a dollar
c.yaml:5:14: address: ${ must be followed by the name of an environment variable and }; write $$ for a dollar
`},
		{"one in a key", `
${CROSSGATE_TEST_NOT_SET}: x
`, `
c.yaml:1:1: configuration: unknown key "${CROSSGATE_TEST_NOT_SET}"; expected listeners, admin, redis, log, drain, overload, descriptors, http, upstreams, releases, auth, identity_tokens, security_headers, limits, cache or routes
`},
	})
}
