package wsbridge

import "github.com/coder/websocket"

// The close codes of a session, besides the protocol's own (RFC 6455 section 7.4.1).
const (
	// CloseTokenExpired: the token's time is over. Connect again with a new one.
	CloseTokenExpired websocket.StatusCode = 4001
	// CloseRevoked: the credentials were revoked. Connect with others.
	CloseRevoked websocket.StatusCode = 4003
	// CloseRefused: the service does not let the client stay.
	CloseRefused websocket.StatusCode = 4004
	// CloseDisconnected: the service or an operator has ended the session.
	CloseDisconnected websocket.StatusCode = 4005
	// CloseSlowConsumer: more waited for the client than the route's queue_size.
	CloseSlowConsumer websocket.StatusCode = 4008
	// CloseUnresponsive: a ping was not answered in time.
	CloseUnresponsive websocket.StatusCode = 4009
	// CloseDraining: the gateway is going away. Connect again.
	CloseDraining websocket.StatusCode = 4010
)

// The codes of errors that clients get.
const (
	codeInvalidArgument   = "invalid_argument"
	codeUnauthenticated   = "unauthenticated"
	codePermissionDenied  = "permission_denied"
	codeNotFound          = "not_found"
	codeResourceExhausted = "resource_exhausted"
	codeDeadlineExceeded  = "deadline_exceeded"
	codeUnavailable       = "unavailable"
)
