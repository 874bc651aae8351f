// Package ws measures WebSocket fan-out over Redis beside a server made of Centrifugo's library: processes of their own
// over one redis-server, one after the other in one run.
//
//	go test -run '^$' -bench . -benchtime 1x -count 3 ./integration/bench/ws
//
// It reports CPU time of the server per delivery, deliveries per second, latency, what was lost, and memory per
// connection that only waits. The load shares the machine with the servers: compare figures of one run only.
package ws
