// Package bus carries WebSocket messages between gateways and services over Redis: the names of its keys ([Keys]), the
// envelopes that go over them ([Inbound], [Outbound]), and a client ([Redis]) that keeps one subscription for each
// channel and restores them when Redis comes back.
package bus
