package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

// cors answers the Fetch standard's CORS protocol for one route. A nil *cors lets no other origin in.
type cors struct {
	anyOrigin   bool
	origins     []string
	methods     string    // empty: the method asked for
	headers     string    // empty: the headers asked for
	expose      [3]string // of plain HTTP, of gRPC-Web and of Connect
	maxAge      string
	credentials bool
}

func compileCORS(c *config.CORS) *cors {
	if c == nil {
		return nil
	}
	return &cors{
		anyOrigin: slices.Contains(c.Origins, "*"),
		origins:   c.Origins,
		methods:   strings.Join(c.Methods, ", "),
		headers:   strings.Join(c.Headers, ", "),
		expose: [...]string{
			strings.Join(c.Expose, ", "),
			strings.Join(append(slices.Clone(c.Expose), webHeaders...), ", "),
			strings.Join(append(slices.Clone(c.Expose), connectHeaders...), ", "),
		},
		maxAge:      strconv.Itoa(int(c.MaxAge.Std().Seconds())),
		credentials: c.Credentials,
	}
}

// corsOfOrigins lets in the pages that may open WebSockets, with their credentials, as they may there.
func corsOfOrigins(origins []string) *cors {
	if len(origins) == 0 {
		return nil
	}
	everybody := slices.Contains(origins, "*")
	return &cors{anyOrigin: everybody, origins: origins, maxAge: "600", credentials: !everybody}
}

// What the clients of gRPC-Web and Connect read of an answer's headers besides metadata.
var (
	webHeaders     = []string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Grpc-Encoding"}
	connectHeaders = []string{"Content-Encoding", "Connect-Content-Encoding"}
)

// isPreflight reports whether r asks for permission rather than for the resource.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header["Origin"] != nil && r.Header["Access-Control-Request-Method"] != nil
}

func (c *cors) allows(origin string) bool {
	return c != nil && (c.anyOrigin || slices.Contains(c.origins, origin))
}

// decorate lets the page that sent r, which speaks p, read the answer, if the route says so.
func (c *cors) decorate(h http.Header, r *http.Request, p rpc.Protocol) {
	if c == nil {
		return
	}
	origin := r.Header.Get("Origin")
	if !c.anyOrigin || c.credentials {
		h.Add("Vary", "Origin")
	}
	if origin == "" || !c.allows(origin) {
		return
	}
	c.setOrigin(h, origin)
	expose := c.expose[0]
	switch p {
	case rpc.None, rpc.GRPC:
	case rpc.GRPCWeb, rpc.GRPCWebText:
		expose = c.expose[1]
	default:
		expose = c.expose[2]
	}
	if expose != "" {
		h.Set("Access-Control-Expose-Headers", expose)
	}
}

func (c *cors) setOrigin(h http.Header, origin string) {
	if c.anyOrigin {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// preflight answers an OPTIONS request. The answer to an origin that may not call has no CORS headers, which a
// browser reads as a no.
func (c *cors) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if origin := r.Header.Get("Origin"); c.allows(origin) {
		c.setOrigin(h, origin)
		methods, headers := c.methods, c.headers
		if methods == "" {
			methods = r.Header.Get("Access-Control-Request-Method")
		}
		if headers == "" {
			headers = strings.Join(r.Header["Access-Control-Request-Headers"], ", ")
		}
		h.Set("Access-Control-Allow-Methods", methods)
		if headers != "" {
			h.Set("Access-Control-Allow-Headers", headers)
		}
		h.Set("Access-Control-Max-Age", c.maxAge)
	}
	w.WriteHeader(http.StatusNoContent)
}
