package integration

import (
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossgate/crossgate/integration/rig"
)

// notByTheLetter is what h2spec expects and net/http's server does otherwise, and why that is let be.
var notByTheLetter = map[string]string{
	"http2/3.5 Sends invalid connection preface":                                                                 "a port without TLS speaks HTTP/1.1 too, and refuses what is neither in HTTP/1.1",
	"http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                          "a setting that comes twice in one frame ends the connection: no client does it but to attack",
	"http2/8.1.2.2 Sends a HEADERS frame that contains the connection-specific header field":                     "answered with 400 before the stream ends, as RFC 9113 section 8.1.1 allows",
	`http2/8.1.2.2 Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`: "as above",
}

// TestListenersSpeakHTTP2AsH2specWantsIt runs all of h2spec, the strict cases too, over TLS and over plain TCP.
func TestListenersSpeakHTTP2AsH2specWantsIt(t *testing.T) {
	certificate, key := rig.Certificate(t)
	g := rig.StartGateway(t, fmt.Sprintf(`
listeners:
  - {address: "127.0.0.1:0"}
  - {address: "127.0.0.1:0", tls: {certificate: %q, key: %q}}
admin: {address: "off"}
routes:
  - {name: hello, match: {path_prefix: /}, respond: {body: "h2spec needs a body of some length"}}
`, certificate, key))
	h2spec := filepath.Join(t.TempDir(), "h2spec")
	if out, code := rig.Output(t, "go", "build", "-modfile=../tools/conformance.mod", "-o", h2spec, "github.com/summerwind/h2spec/cmd/h2spec"); code != 0 {
		t.Fatal(out)
	}
	for name, more := range map[string][]string{"plain TCP": nil, "TLS": {"--tls", "--insecure"}} {
		address := g.Addresses()[len(more)/2].String()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, failed := range runH2spec(t, h2spec, address, more...) {
				if notByTheLetter[failed.name] != "" {
					continue
				}
				// Some cases take the first frame that comes for the answer, or a second of silence for none.
				if !passesOnceOf(t, h2spec, address, failed.spec, failed.name, more) {
					t.Errorf("%s: expected %s", failed.name, failed.expected)
				}
			}
		})
	}
}

type h2specFailure struct{ spec, name, expected string }

// leastH2specCases is how many cases version 2.2.1 has, so that a run of none does not pass.
const leastH2specCases = 146

// runH2spec runs the cases of some sections, of all where more names none, and returns those that fail.
func runH2spec(t *testing.T, h2spec, address string, more ...string) []h2specFailure {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	args := append([]string{"--host", host, "--port", port, "--strict", "--timeout", "3", "--junit-report", file}, more...)
	said, _ := exec.CommandContext(t.Context(), h2spec, args...).CombinedOutput() // fails where a case does
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Spec  string  `xml:"package,attr"`
				Title string  `xml:"classname,attr"`
				Error *string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(raw, &report); err != nil {
		t.Fatal(err)
	}
	var failed []h2specFailure
	cases := 0
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			cases++
			if c.Error != nil {
				failed = append(failed, h2specFailure{c.Spec, c.Spec + " " + c.Title, strings.ReplaceAll(*c.Error, "\n", "; ")})
			}
		}
	}
	if cases < leastH2specCases && !slices.ContainsFunc(more, func(arg string) bool { return strings.Contains(arg, "/") }) {
		t.Errorf("%d cases were run, want %d", cases, leastH2specCases)
	}
	return failed
}

func passesOnceOf(t *testing.T, h2spec, address, spec, name string, more []string) bool {
	for range 3 {
		again := runH2spec(t, h2spec, address, append([]string{spec}, more...)...)
		if !slices.ContainsFunc(again, func(f h2specFailure) bool { return f.name == name }) {
			return true
		}
	}
	return false
}
