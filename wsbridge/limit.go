package wsbridge

import "github.com/crossgate/crossgate/fault"

// limit is one of a session's limits, by the name that metrics have for it.
type limit string

// The limits. docs/websocket.md has what a client gets beyond each.
const (
	limitConnections        limit = "connections"
	limitConnectionsPerUser limit = "connections_per_user"
	limitConnectionsPerIP   limit = "connections_per_ip"
	limitMessageRate        limit = "message_rate"
	limitMessageSize        limit = "message_size"
	limitSubscriptions      limit = "subscriptions"
	limitPendingReplies     limit = "pending_replies"
	limitQueueSize          limit = "queue_size"
	limitPresenceInfo       limit = "presence_info"
	limitQueueLength        limit = "queue_length"
)

// tooMany is what an upgrade gets that would be one connection too many.
func (l limit) tooMany() *fault.Error {
	switch l {
	case limitConnectionsPerUser:
		return fault.New(fault.TooManyConnections, "the user has as many connections as the route allows")
	case limitConnectionsPerIP:
		return fault.New(fault.TooManyConnections, "the address has as many connections as the route allows")
	}
	return fault.New(fault.ConnectionsExhausted, "the node has as many connections as the route allows")
}
