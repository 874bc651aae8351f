package transcoder

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/crossgate/crossgate/fault"
)

func TestConnectNamesOfCodesGoBothWays(t *testing.T) {
	seen := map[string]bool{}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		name := ConnectCode(c)
		back, known := CodeOfConnect(name)
		if name == "" || seen[name] || !known || back != c {
			t.Errorf("%v is %q, which is %v", c, name, back)
		}
		seen[name] = true
		// The names are those of google.rpc.Code in snake case, but for one L.
		if want := strings.ReplaceAll(c.String(), "_", ""); !strings.EqualFold(strings.ReplaceAll(name, "_", ""), want) {
			t.Errorf("%v is called %q", c, name)
		}
	}
	if c, known := CodeOfConnect("cancelled"); known || c != codes.Unknown {
		t.Errorf("a name that is none: %v, %v", c, known)
	}
	if c, known := CodeOfConnect(""); known || c != codes.Unknown {
		t.Errorf("no name: %v, %v", c, known)
	}
	if ConnectCode(codes.OK) != "" || ConnectCode(codes.Code(99)) != "unknown" {
		t.Errorf("OK is %q, 99 %q", ConnectCode(codes.OK), ConnectCode(codes.Code(99)))
	}
}

func TestTheDocumentationHasTheTableOfCodes(t *testing.T) {
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		row := regexp.MustCompile(fmt.Sprintf("(?m)^\\| %d \\| `[A-Z_]+` \\| %d \\| `%s` \\|$", c, HTTPStatus(c), ConnectCode(c)))
		if !row.Match(page) {
			t.Errorf("docs/errors.md has no row %s", row)
		}
	}
}

func TestFaultsHaveTheStatusOfTheirCodeUnlessHTTPSaysMore(t *testing.T) {
	more := map[fault.Reason]int{
		fault.RequestTimeout:   http.StatusRequestTimeout,
		fault.NotCached:        http.StatusGatewayTimeout,
		fault.MethodNotAllowed: 405, fault.MessageTooLarge: 413, fault.HeaderTooLarge: 431, fault.UnsupportedMediaType: 415, fault.UpgradeRequired: 426,
		fault.DescriptorSetIncompatible: 409, fault.SequenceGap: 409, fault.UpstreamResponseInvalid: 502,
	}
	for _, r := range fault.All() {
		want, differs := more[r]
		if !differs {
			want = HTTPStatus(r.Code())
		}
		if r.HTTPStatus() != want {
			t.Errorf("%s is %d, want %d", r, r.HTTPStatus(), want)
		}
	}
}
