package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const hidden = "correct-horse-battery-staple-0123456789"

// assertHidden fails when text has the secret in it, plain or in one of the forms that fmt could give it.
func assertHidden(t *testing.T, what, text string) {
	t.Helper()
	for _, form := range []string{hidden, "horse", fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("%d", []byte(hidden))} {
		if strings.Contains(text, form) {
			t.Errorf("%s prints the secret: %s", what, text)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	s := Secret(hidden)
	holder := struct {
		S Secret
		P *Secret
		L []Secret
		M map[string]Secret
		A any
	}{s, &s, []Secret{s}, map[string]Secret{"k": s}, s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%c", "%U", "%t", "%T", "%10.3s"} {
		assertHidden(t, verb, fmt.Sprintf(verb, s))
		assertHidden(t, verb, fmt.Sprintf(verb, holder))
	}
	if got := fmt.Sprintf("%v %s %q %#v", s, s, s, s); got != "[redacted] [redacted] [redacted] [redacted]" {
		t.Errorf("got %s", got)
	}
	if s.String() != redacted || s.GoString() != redacted {
		t.Errorf("String %s, GoString %s", s.String(), s.GoString())
	}
	assertHidden(t, "Sprint", fmt.Sprint(s, holder)+fmt.Sprintln(s, holder))
	assertHidden(t, "Errorf", fmt.Errorf("with %v: %w", s, fmt.Errorf("%s", s)).Error())

	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(handler).With("secret", s).Info("message", "s", s, "holder", holder, "config", &Admin{Token: s}, slog.Group("g", "s", s))
	}
	assertHidden(t, "slog", log.String())
	if !strings.Contains(log.String(), redacted) {
		t.Errorf("the log has no %s: %s", redacted, &log)
	}

	for what, marshal := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "YAML": yaml.Marshal} {
		b, err := marshal(holder)
		if err != nil || !bytes.Contains(b, []byte(redacted)) {
			t.Errorf("%s: %s, %v", what, b, err)
		}
		assertHidden(t, what, string(b))
	}
	if s.Reveal() != hidden {
		t.Error("Reveal returns something else than the secret")
	}
}

func TestConfigurationPrintsNoSecret(t *testing.T) {
	t.Setenv("HIDDEN", hidden)
	c := mustParse(t, `
admin: {token: "${HIDDEN}"}
redis: {url: "redis://user:${HIDDEN}@localhost:6379/0"}
auth:
  - {name: a, jwt: {secret: "${HIDDEN}"}}
  - {name: b, api_keys: {keys: [{id: k, key: "${HIDDEN}"}]}}
`)
	if c.Admin.Token.Reveal() != hidden || !strings.Contains(c.Redis.URL.Reveal(), hidden) {
		t.Fatal("the secrets were not read")
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		assertHidden(t, verb, fmt.Sprintf(verb, *c))
		assertHidden(t, verb, fmt.Sprintf(verb, *c.Auth[0].JWT))
		assertHidden(t, verb, fmt.Sprintf(verb, c.Auth[1].APIKeys.Keys))
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	assertHidden(t, "JSON", string(b))
}

func TestErrorsPrintNoSecret(t *testing.T) {
	t.Setenv("HIDDEN", hidden)
	for _, input := range []string{
		`redis: {url: "${HIDDEN}"}`,
		`redis: {url: "redis://user:${HIDDEN}@local host:6379/0"}`,
		`redis: {url: "redis://user:${HIDDEN}@localhost:6379/many"}`,
		`redis: {url: "redis://localhost:6379/0?password=${HIDDEN}"}`,
		`redis: {url: "http://${HIDDEN}@localhost"}`,
		`redis: {url: "redis://user:${HIDDEN}%zz@localhost"}`,
		`redis: {url: "redis://:${HIDDEN}/@localhost"}`,
		`redis: {url: "redis+cluster://user:${HIDDEN}@localhost:6379/many"}`,
		`redis: {url: "redis+sentinel://user:${HIDDEN}@localhost:6379/many?master_name=m"}`,
		`redis: {urls: ["redis://user:${HIDDEN}@localhost", "redis://other:${HIDDEN}@localhost"]}`,
		`redis: {url: [correct-horse-battery-staple-0123456789]}`,
		`redis: {url: {correct: horse}}`,
		`admin: {address: ":1", token: "${HIDDEN}${NOT_SET_ANYWHERE}"}`,
		`admin: {address: ":1", token: "correct-horse${"}`,
		`admin: {address: ":1", token: "a${correct-horse}"}`,
		`admin: {address: ":1", token: "a${correct horse}"}`,
		`auth: [{name: a, jwt: {secret: "horse"}}]`,
		`auth: [{name: a, jwt: {jwks_url: "https://user:${HIDDEN}@a/"}}]`,
		`auth: [{name: a, jwt: {jwks_url: "https://user:${HIDDEN}@a:b/"}}]`,
		`auth: [{name: a, api_keys: {keys: [{id: k, sha256: "${HIDDEN}"}]}}]`,
		`auth: [{name: a, api_keys: {keys: [{id: k, key: "${HIDDEN}"}, {id: l, key: "${HIDDEN}"}]}}]`,
	} {
		_, err := Parse("c.yaml", []byte(input))
		if err == nil {
			t.Errorf("%s: no error", input)
			continue
		}
		assertHidden(t, input, err.Error())
		assertHidden(t, input, fmt.Sprintf("%+v %#v", err, err))
	}
}
