package config

// Retry tries requests again that failed. One that cannot have begun, as no connection was made or the backend refused it, is
// tried again anyway, at another endpoint, with or without this.
type Retry struct {
	Pos Position `yaml:"-"`

	// How often at most, besides the first try.
	Retries int `yaml:"retries" default:"2" min:"1" max:"10"`
	// After which failures: reset, the connection broke before an answer; timeout, try_timeout passed; gateway, HTTP 502, 503 and 504
	// and gRPC UNAVAILABLE; 5xx, HTTP 500 to 599; or other codes of gRPC. Left out: reset and gateway.
	On []string `yaml:"on" enum:"reset,timeout,gateway,5xx,cancelled,deadline_exceeded,resource_exhausted,aborted,internal,unknown,data_loss"`
	// Whether also what is not idempotent is tried again: HTTP methods other than GET, HEAD, OPTIONS, PUT and DELETE, and methods of gRPC
	// that have neither an idempotency_level nor a binding by GET.
	NonIdempotent bool `yaml:"non_idempotent" default:"false"`
	// The pause before the first retry, doubled for each further one: a random time up to it. A backend's grpc-retry-pushback-ms goes before it.
	Backoff Duration `yaml:"backoff" default:"25ms" min:"1ms"`
	// The longest pause.
	MaxBackoff Duration `yaml:"max_backoff" default:"250ms" min:"1ms"`
	// How much of a request body is kept for another try. Where more of it has been sent, there is none.
	Buffer Size `yaml:"buffer" default:"64KiB" min:"0" max:"16MiB"`
}

// Hedge sends an idempotent request that takes long to a second endpoint too, and takes the answer that comes first: unary
// calls of gRPC by whatever protocol, of which native ones must fit into retry's buffer, and HTTP requests without a body.
type Hedge struct {
	Pos Position `yaml:"-"`

	// After which time without an answer. The 95th percentile of the latency sends 5 % more requests.
	After Duration `yaml:"after" required:"true" min:"1ms"`
}

// RetryBudget bounds retries and hedges of an upstream, so that they do not add to what an overload is.
type RetryBudget struct {
	Pos Position `yaml:"-"`

	// How many may be under way, in percent of the requests that are.
	Percent int `yaml:"percent" default:"20" min:"0" max:"100"`
	// How many may always.
	MinConcurrent int `yaml:"min_concurrent" default:"3" min:"0"`
}

// Concurrency bounds how many requests an upstream has at a time on this node.
type Concurrency struct {
	Pos Position `yaml:"-"`

	// The most requests under way; with adaptive the most that it may find.
	MaxRequests int `yaml:"max_requests" default:"1024" min:"1"`
	// How many wait for their turn; the next is refused with 503.
	MaxPending int `yaml:"max_pending" default:"0" min:"0"`
	// The longest time to wait.
	PendingTimeout Duration `yaml:"pending_timeout" default:"1s" min:"1ms"`
	// Whether the number is found by measuring: it grows while latency stays, and shrinks when latency grows or requests time out.
	Adaptive bool `yaml:"adaptive" default:"false"`
	// The fewest that adaptive may find.
	MinRequests int `yaml:"min_requests" default:"8" min:"1"`
}
