package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

// cors answers the Fetch standard's CORS protocol for one route. A nil *cors lets no other origin in. Values of headers
// that do not depend on the request are shared by all answers: net/http only reads them.
type cors struct {
	origins     admission.Origins
	methods     []string    // nil: the method asked for
	headers     []string    // nil: the headers asked for
	expose      [3][]string // of plain HTTP, of gRPC-Web and of Connect; nil for none
	maxAge      []string
	vary        []string // of preflights
	credentials bool
	private     bool
}

func compileCORS(c *config.CORS) *cors {
	if c == nil {
		return nil
	}
	compiled := &cors{
		origins: admission.CompileOrigins(c.Origins),
		methods: fieldOf(c.Methods),
		headers: fieldOf(c.Headers),
		expose: [...][]string{
			fieldOf(c.Expose),
			fieldOf(append(slices.Clone(c.Expose), webHeaders...)),
			fieldOf(append(slices.Clone(c.Expose), connectHeaders...)),
		},
		maxAge:      []string{strconv.Itoa(int(c.MaxAge.Std().Seconds()))},
		vary:        varyPreflight,
		credentials: c.Credentials,
		private:     c.PrivateNetwork,
	}
	if c.PrivateNetwork {
		compiled.vary = varyPrivatePreflight
	}
	return compiled
}

// fieldOf is the field of a list, nil without elements.
func fieldOf(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return []string{strings.Join(list, ", ")}
}

// corsOfOrigins lets in the pages that may open WebSockets, with their credentials, as they may there.
func corsOfOrigins(origins []string) *cors {
	if len(origins) == 0 {
		return nil
	}
	c := &cors{origins: admission.CompileOrigins(origins), maxAge: []string{"600"}, vary: varyPreflight}
	c.credentials = !c.origins.Any()
	return c
}

// What the clients of gRPC-Web and Connect read of an answer's headers besides metadata.
var (
	webHeaders     = []string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Grpc-Encoding"}
	connectHeaders = []string{"Content-Encoding", "Connect-Content-Encoding"}
)

var (
	yes                  = []string{"true"}
	anyOrigin            = []string{"*"}
	varyOrigin           = []string{"Origin"}
	varyPreflight        = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
	varyPrivatePreflight = []string{varyPreflight[0] + ", Access-Control-Request-Private-Network"}
)

// isPreflight reports whether r asks for permission rather than for the resource.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header["Origin"] != nil && r.Header["Access-Control-Request-Method"] != nil
}

// announced returns the names of the headers that a preflight asks to send.
func announced(r *http.Request) []string {
	var names []string
	for _, field := range r.Header["Access-Control-Request-Headers"] {
		for name := range strings.SplitSeq(field, ",") {
			names = append(names, http.CanonicalHeaderKey(strings.Trim(name, " \t")))
		}
	}
	return names
}

// decorate lets the page that sent r, which speaks p, read the answer, if the route says so. What does not depend on the
// origin is said to whoever asks, for a cache may give the answer to a page (the Fetch standard, "CORS protocol and HTTP
// caches").
func (c *cors) decorate(h http.Header, r *http.Request, p rpc.Protocol) {
	if c == nil {
		return
	}
	if !c.origins.Any() {
		h["Vary"] = varyOrigin // the first to say what the answer depends on
	}
	if !c.setOrigin(h, r) {
		return
	}
	expose := c.expose[0]
	switch p {
	case rpc.None, rpc.GRPC:
	case rpc.GRPCWeb, rpc.GRPCWebText:
		expose = c.expose[1]
	default:
		expose = c.expose[2]
	}
	if expose != nil {
		h["Access-Control-Expose-Headers"] = expose
	}
}

// setOrigin says whether pages of r's origin may read the answer, and reports it.
func (c *cors) setOrigin(h http.Header, r *http.Request) bool {
	if c.origins.Any() {
		h["Access-Control-Allow-Origin"] = anyOrigin // credentials are not sent: the configuration refuses both
		return true
	}
	origin := r.Header["Origin"]
	if len(origin) != 1 || !c.origins.Has(origin[0]) {
		return false
	}
	h["Access-Control-Allow-Origin"] = origin
	if c.credentials {
		h["Access-Control-Allow-Credentials"] = yes
	}
	return true
}

// preflight answers an OPTIONS request. The answer to an origin that may not call has no CORS headers, which a
// browser reads as a no.
func (c *cors) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Vary"] = c.vary
	if c.setOrigin(h, r) {
		methods, headers := c.methods, c.headers
		if methods == nil {
			methods = r.Header["Access-Control-Request-Method"][:1]
		}
		if headers == nil {
			headers = fieldOf(r.Header["Access-Control-Request-Headers"])
		}
		h["Access-Control-Allow-Methods"] = methods
		if headers != nil {
			h["Access-Control-Allow-Headers"] = headers
		}
		h["Access-Control-Max-Age"] = c.maxAge
		if c.private && r.Header.Get("Access-Control-Request-Private-Network") == "true" {
			h["Access-Control-Allow-Private-Network"] = yes
		}
	}
	w.WriteHeader(http.StatusNoContent)
}
