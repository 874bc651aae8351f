// Package telemetry names every metric and writes every log line: a Prometheus registry, the process log (log/slog),
// the access log, request ids and W3C trace context. It decides nothing.
//
// What a request costs here is decided at load: [Telemetry.Route] resolves a route's series once, and observing a
// request takes no lock, builds no string and looks up no label.
package telemetry
