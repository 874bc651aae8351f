package config

import "testing"

func TestBadReleasesAreRefused(t *testing.T) {
	t.Parallel()
	testBadInput(t, []badInput{
		{"callers who cannot be told apart, cookies and testers that cannot be", `
upstreams: [{name: u, endpoints: ["u:1"]}]
releases:
  - {name: a, by: header, variants: [{name: x, upstream: u}]}
  - {name: b, by: user, issue_cookie: {}, variants: [{name: x, upstream: u}]}
  - {name: c, by: cookie:c, issue_cookie: {path: x, same_site: none}, variants: [{name: x, upstream: u}]}
  - {name: d, force: {header: "a b"}, variants: [{name: x, upstream: u}]}
  - {name: a, variants: [{name: x, upstream: u}]}
`, `
c.yaml:3:19: by: after the colon the name is missing
c.yaml:4:39: issue_cookie: by is "user"; it is for by: cookie:NAME
c.yaml:5:50: path: "x" does not begin with /
c.yaml:5:64: same_site: browsers take none only with secure: true
c.yaml:6:22: force: it says for nobody; set roles, addresses, or anyone: true
c.yaml:6:31: header: "a b" is not the name of a header; " " may not be in one
c.yaml:7:12: releases: the name "a" is taken, at c.yaml:3:12
`},
		{"shares that cannot be", `
upstreams: [{name: u, endpoints: ["u:1"]}]
releases:
  - {name: a, variants: [{name: x, upstream: u, percent: 0.001}, {name: y, upstream: u, percent: 101}]}
  - {name: b, variants: [{name: x, upstream: u, percent: 60}, {name: y, upstream: u, ramp: {linear: {to: 41, over: 1h}}}]}
  - {name: c, variants: [{name: stable, upstream: u}, {name: x, upstream: u}, {name: x, upstream: u}]}
  - {name: d, variants: [{name: x, upstream: v}]}
`, `
c.yaml:3:58: percent: "0.001" is not a percentage; expected a number with two digits after the point at most, as 5, 0.01 or 12.5%
c.yaml:3:98: percent: 101 is too large; the most is 100
c.yaml:4:63: variants: with this one their greatest shares come to 101 %, more than 100
c.yaml:5:33: name: "stable" is taken
c.yaml:5:86: name: "x" is taken
c.yaml:6:46: there is no upstream named "v"
`},
		{"ramps that cannot be", `
upstreams: [{name: u, endpoints: ["u:1"]}]
releases:
  - {name: a, variants: [{name: x, upstream: u, percent: 5, ramp: {steps: [{percent: 5, for: 1h}, {percent: 5}]}}]}
  - {name: b, variants: [{name: x, upstream: u, ramp: {steps: [{percent: 5}, {percent: 9, for: 1h}], linear: {over: 1h}, start: now}}]}
  - {name: c, variants: [{name: x, upstream: u, ramp: {linear: {from: 10, to: 10, over: 1h}}}]}
  - {name: d, variants: [{name: x, upstream: u, percent: 5, rollback: {action: pause}}]}
`, `
c.yaml:3:58: percent: the ramp says how large the share is; leave one of them out
c.yaml:3:109: percent: 5 is not more than the step before has
c.yaml:4:55: ramp: steps and linear exclude each other; exactly one is needed
c.yaml:4:64: steps: each step but the last needs for, which the last does not have
c.yaml:4:78: steps: each step but the last needs for, which the last does not have
c.yaml:4:129: start: "now" is not a time; expected one as 2026-03-01T08:00:00Z or 2026-03-01T08:00:00+01:00
c.yaml:5:64: linear: from, 10, is not below to, 10
c.yaml:6:80: action: pause is for a variant with a ramp
`},
		{"cohorts that cannot be", `
upstreams: [{name: u, endpoints: ["u:1"]}]
releases:
  - name: a
    variants:
      - {name: x, upstream: u, cohorts: [{}, {header: "a b"}, {claim: a, cookie: b}, {when: "true", values: [a]}, {cookie: c, values: [a, a]}]}
`, `
c.yaml:5:42: cohorts: exactly one of header, claim, cookie or when is needed
c.yaml:5:55: header: "a b" is not the name of a header; " " may not be in one
c.yaml:5:63: cohorts: claim and cookie exclude each other; exactly one is needed
c.yaml:5:86: values: an expression is true or false; write the values into it
c.yaml:5:139: values: "a" is in the list twice
`},
		{"releases and upstreams that are not there, or of another kind", `
upstreams: [{name: u, endpoints: ["u:1"]}, {name: h, protocol: http, endpoints: ["h:1"]}]
releases: [{name: a, variants: [{name: x, upstream: h}, {name: y, upstream: v}]}]
routes:
  - {name: r, release: a, grpc: {upstream: u}}
  - {name: s, release: b, match: {path: /s}, http: {upstream: h}}
  - {name: t, release: a, match: {path: /t}, respond: {}}
  - {name: w, release: a, match: {path: /w}, websocket: {service: chat}}
`, `
c.yaml:2:53: upstream: "h" is of protocol http; one of grpc is needed here
c.yaml:2:77: there is no upstream named "v"
c.yaml:5:24: there is no release named "b"
c.yaml:6:24: release: is for grpc and http routes, which have upstreams
c.yaml:7:24: release: a websocket route has a service on Redis, and no upstream that a variant could stand for; give some of its clients a route of their own, with another service
`},
	})
}
