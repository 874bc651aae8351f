package transcoder

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/transcoder/codec"
)

var problemType = []string{"application/problem+json"}

// prefersProblem reports whether Accept names application/problem+json and gives application/json no greater weight
// (RFC 9110 section 12.5.1). A wildcard names nothing: who sends */* has asked for no other form of errors.
func prefersProblem(accept []string) bool {
	problem, plain := 0, 0
	for kind, weight := range Weighted(accept) {
		switch {
		case strings.EqualFold(kind, "application/problem+json"):
			problem = max(problem, weight)
		case strings.EqualFold(kind, "application/json"):
			plain = max(plain, weight)
		}
	}
	return problem > 0 && problem >= plain
}

// problem is an error as RFC 9457 has it. The code and the details of the google.rpc.Status are extension members.
type problem struct {
	kind    string
	title   string
	status  int
	request string // the request's id, empty for none
	cause   *status.Status
}

// tagAuthority makes tag URIs (RFC 4151) of names that are the gateway's: RFC 9457 section 3.1.1 has them for types that
// lead nowhere.
const tagAuthority = "tag:" + fault.Domain + ",2026:"

// problemKind is the type of the gateway's own problems. Those of backends are about:blank: nobody but their owners can
// name them, and their ErrorInfo is among the details.
func problemKind(r fault.Reason) string { return tagAuthority + r.String() }

func (p *problem) append(dst []byte, resolver codec.Resolver) []byte {
	dst = appendText(append(dst, `{"type":`...), p.kind)
	dst = appendText(append(dst, `,"title":`...), p.title)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(p.status), 10)
	dst = appendText(append(dst, `,"detail":`...), p.cause.Message())
	if p.request != "" {
		dst = appendText(append(dst, `,"instance":`...), tagAuthority+"request:"+url.PathEscape(p.request))
	}
	dst = append(dst, `,"code":`...)
	dst = strconv.AppendInt(dst, int64(p.cause.Code()), 10)
	dst = append(dst, `,"details":`...)
	return append(appendDetails(dst, p.cause, resolver), '}')
}

// statusText is the title of an about:blank problem (RFC 9457 section 4.2.1).
func statusText(code int) string {
	if code == fault.StatusClientClosedRequest {
		return "Client Closed Request"
	}
	return http.StatusText(code)
}
