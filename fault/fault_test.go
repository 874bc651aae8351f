package fault

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func TestEveryReasonHasANameACodeAStatusAndATitleOfItsOwn(t *testing.T) {
	// google.rpc.ErrorInfo asks for this form and at most 63 characters.
	form := regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,61}[A-Z0-9]$`)
	names, titles := map[string]bool{}, map[string]bool{}
	for _, r := range All() {
		if !form.MatchString(r.String()) || names[r.String()] {
			t.Errorf("reason %d: name %q", r, r)
		}
		if r.Title() == "" || titles[r.Title()] {
			t.Errorf("%s: title %q", r, r.Title())
		}
		if r.Code() == codes.OK || r.HTTPStatus() < 400 {
			t.Errorf("%s: code %v, status %d", r, r.Code(), r.HTTPStatus())
		}
		names[r.String()], titles[r.Title()] = true, true
	}
}

func TestTheDocumentationListsEveryReason(t *testing.T) {
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (\\d+) \\| (\\d+) \\| .+ \\|$").FindAllStringSubmatch(string(page), -1)
	if len(listed) != len(All()) {
		t.Errorf("docs/errors.md lists %d reasons, want %d", len(listed), len(All()))
	}
	for i, r := range All() {
		want := fmt.Sprintf("| `%s` | %d | %d |", r, r.HTTPStatus(), r.Code())
		if i < len(listed) && !strings.HasPrefix(listed[i][0], want) {
			t.Errorf("docs/errors.md has %q where %q belongs", listed[i][0], want)
		}
	}
}

func TestAStatusKeepsItsDetailsAndDropsThoseThatAreNoUTF8(t *testing.T) {
	e := New(InvalidRequest, "no", &errdetails.RequestInfo{RequestId: "\xff"}, &errdetails.RequestInfo{RequestId: "r"})
	details := e.GRPCStatus().Details()
	if len(details) != 2 || !proto.Equal(details[1].(proto.Message), &errdetails.RequestInfo{RequestId: "r"}) {
		t.Errorf("details %v", details)
	}
}
