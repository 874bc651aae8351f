package config

// HealthCheck asks each endpoint again and again whether it is well. One that is not gets no requests. docs/upstreams.md says
// more.
type HealthCheck struct {
	Pos Position `yaml:"-"`

	// How to ask: grpc by grpc.health.v1.Health, http by a GET that must be answered with 200 to 299, tcp by a connection.
	Type string `yaml:"type" required:"true" enum:"grpc,http,tcp"`
	// The service that a grpc check asks for. Left out: the backend as a whole.
	Service string `yaml:"service"`
	// The path that an http check asks for.
	Path string `yaml:"path" default:"/"`
	// The Host header of an http check. Left out: the endpoint's address.
	Host string `yaml:"host"`
	// The port that http and tcp checks go to. Left out: the endpoint's.
	Port int `yaml:"port" min:"1" max:"65535"`
	// How often each is asked, more or less by a tenth.
	Interval Duration `yaml:"interval" default:"10s" min:"10ms"`
	// The longest time for an answer.
	Timeout Duration `yaml:"timeout" default:"2s" min:"1ms"`
	// How many answers in a row make an endpoint unhealthy; the very first one does by itself.
	Unhealthy int `yaml:"unhealthy" default:"3" min:"1"`
	// How many in a row make it healthy again.
	Healthy int `yaml:"healthy" default:"2" min:"1"`
}

// OutlierDetection takes endpoints out that fail the requests they get, for a time that grows. The rules are Envoy's.
type OutlierDetection struct {
	Pos Position `yaml:"-"`

	// Requests in a row that failed: HTTP 500 to 599 but 501, and gRPC INTERNAL, UNKNOWN, DATA_LOSS, UNAVAILABLE and
	// DEADLINE_EXCEEDED, connections that could not be made or broke. 0 for not to count.
	ConsecutiveFailures int `yaml:"consecutive_failures" default:"5" min:"0"`
	// The same of HTTP 502, 503 and 504, gRPC UNAVAILABLE and DEADLINE_EXCEEDED, and connections. 0 for not to count.
	ConsecutiveGatewayFailures int `yaml:"consecutive_gateway_failures" default:"0" min:"0"`
	// Endpoints that succeed much less often than the others. Left out: not looked at.
	SuccessRate *SuccessRate `yaml:"success_rate"`
	// How often success rates are compared, and endpoints whose time is over come back.
	Interval Duration `yaml:"interval" default:"10s" min:"10ms"`
	// How long an endpoint is out; the second time in a row twice as long, and so on.
	BaseEjection Duration `yaml:"base_ejection" default:"30s" min:"1ms"`
	// The longest time out.
	MaxEjection Duration `yaml:"max_ejection" default:"5m" min:"1ms"`
	// How many of the endpoints may be out at a time, in percent; one may always.
	MaxEjected int `yaml:"max_ejected" default:"10" min:"0" max:"100"`
}

// SuccessRate finds the endpoints whose share of requests that succeeded in an interval is below the mean by so many
// standard deviations.
type SuccessRate struct {
	Pos Position `yaml:"-"`

	// How many endpoints must have had enough requests.
	MinEndpoints int `yaml:"min_endpoints" default:"5" min:"2"`
	// How many requests are enough.
	MinRequests int `yaml:"min_requests" default:"100" min:"1"`
	// The number of standard deviations in thousandths: 1900 is 1.9.
	StdevFactor int `yaml:"stdev_factor" default:"1900" min:"0"`
}
