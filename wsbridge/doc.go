// Package wsbridge connects WebSocket clients with services over a bus: sessions, channels and fan-out. docs/websocket.md
// is its contract with both sides.
//
// A [Node] is this process's end of the bridge: its sessions, and one subscription of the bus for each channel that one
// of them subscribes to. [Node.Serve] upgrades an admitted request and serves the session to its end by the rules of a
// [Route]. [Node.ServeEvents] and [Node.Post] do the same for a client without WebSocket. A message that is for many is
// encoded once, and compressed once; each session has a queue with a bound, and one that does not keep up is closed and
// slows nobody else.
//
// The package parses no HTTP credentials: a request comes with its admission.Ticket.
package wsbridge
