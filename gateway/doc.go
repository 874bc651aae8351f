// Package gateway puts Crossgate together: it compiles a configuration and its descriptors into one immutable
// [Snapshot], serves listeners from the newest one, swaps it on reload, drains, and answers the admin API.
//
// The path of a request is [Gateway.ServeHTTP]: take the snapshot, admit, and let the route's target serve.
// Every policy belongs to the packages below; this one only decides which of them a request meets, and in which order.
//
// Types to know: [Gateway] is the running process, [Snapshot] is what it serves, [Options] is what it starts from.
package gateway
