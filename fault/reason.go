package fault

import (
	"net/http"

	"google.golang.org/grpc/codes"
)

// Reason is why the gateway fails a call. Its text, such as NO_ROUTE, is ErrorInfo.reason: it never changes its meaning.
type Reason uint8

// The reasons, in the order of docs/errors.md.
const (
	// Internal is a broken invariant of the gateway's own.
	Internal Reason = iota
	NoRoute
	MethodNotAllowed
	MalformedPath
	WrongProtocol
	UpgradeRequired
	Unauthenticated
	PermissionDenied
	CrossOriginRefused
	LoginFailed
	IdentityUnavailable
	RateLimitExceeded
	LimitsUnavailable
	Overloaded
	TooManyConnections
	ConnectionsExhausted
	SessionNotFound
	SequenceGap
	InvalidRequest
	ValidationFailed
	UnsupportedMediaType
	MessageTooLarge
	HeaderTooLarge
	ClientGone
	DeadlineExceeded
	RequestTimeout
	NotCached
	DescriptorsMissing
	UpstreamUnreachable
	UpstreamDisconnected
	UpstreamOverloaded
	UpstreamAnswerInvalid
	UpstreamAnswerTooLarge
	UpstreamResponseInvalid
	ConfigurationRefused
	DescriptorSetInvalid
	DescriptorSetNotFound
	DescriptorSetIncompatible
	RegistrationConflict
	VariantNotFound
	StoreUnavailable
	ShuttingDown
	reasons
)

// StatusClientClosedRequest is the HTTP status that google/rpc/code.proto gives CANCELLED; RFC 9110 has none for it.
const StatusClientClosedRequest = 499

var table = [reasons]struct {
	name  string
	code  codes.Code
	http  int
	title string
}{
	Internal:                  {"INTERNAL", codes.Internal, http.StatusInternalServerError, "The gateway failed"},
	NoRoute:                   {"NO_ROUTE", codes.NotFound, http.StatusNotFound, "Nothing is served at this address"},
	MethodNotAllowed:          {"METHOD_NOT_ALLOWED", codes.Unimplemented, http.StatusMethodNotAllowed, "The path does not take this method"},
	MalformedPath:             {"MALFORMED_PATH", codes.InvalidArgument, http.StatusBadRequest, "The path is malformed"},
	WrongProtocol:             {"WRONG_PROTOCOL", codes.Unimplemented, http.StatusNotImplemented, "The path does not speak this protocol"},
	UpgradeRequired:           {"UPGRADE_REQUIRED", codes.FailedPrecondition, http.StatusUpgradeRequired, "The path speaks WebSocket"},
	Unauthenticated:           {"UNAUTHENTICATED", codes.Unauthenticated, http.StatusUnauthorized, "A valid credential is needed"},
	PermissionDenied:          {"PERMISSION_DENIED", codes.PermissionDenied, http.StatusForbidden, "The caller may not do this"},
	CrossOriginRefused:        {"CROSS_ORIGIN_REFUSED", codes.PermissionDenied, http.StatusForbidden, "A page of another origin may not do this"},
	LoginFailed:               {"LOGIN_FAILED", codes.PermissionDenied, http.StatusForbidden, "The login failed"},
	IdentityUnavailable:       {"IDENTITY_UNAVAILABLE", codes.Unavailable, http.StatusServiceUnavailable, "The caller cannot be identified now"},
	RateLimitExceeded:         {"RATE_LIMIT_EXCEEDED", codes.ResourceExhausted, http.StatusTooManyRequests, "Too many requests"},
	LimitsUnavailable:         {"LIMITS_UNAVAILABLE", codes.Unavailable, http.StatusServiceUnavailable, "The limits cannot be checked"},
	Overloaded:                {"OVERLOADED", codes.Unavailable, http.StatusServiceUnavailable, "The gateway has too much to do"},
	TooManyConnections:        {"TOO_MANY_CONNECTIONS", codes.ResourceExhausted, http.StatusTooManyRequests, "Too many connections"},
	ConnectionsExhausted:      {"CONNECTIONS_EXHAUSTED", codes.Unavailable, http.StatusServiceUnavailable, "The node takes no more connections"},
	SessionNotFound:           {"SESSION_NOT_FOUND", codes.NotFound, http.StatusNotFound, "There is no such session"},
	SequenceGap:               {"SEQUENCE_GAP", codes.FailedPrecondition, http.StatusConflict, "An earlier request of the session is missing"},
	InvalidRequest:            {"INVALID_REQUEST", codes.InvalidArgument, http.StatusBadRequest, "The request does not fit the method"},
	ValidationFailed:          {"VALIDATION_FAILED", codes.InvalidArgument, http.StatusBadRequest, "The request breaks a rule of its message"},
	UnsupportedMediaType:      {"UNSUPPORTED_MEDIA_TYPE", codes.InvalidArgument, http.StatusUnsupportedMediaType, "The content type or encoding is not supported"},
	MessageTooLarge:           {"MESSAGE_TOO_LARGE", codes.ResourceExhausted, http.StatusRequestEntityTooLarge, "The request is too large"},
	HeaderTooLarge:            {"HEADER_TOO_LARGE", codes.ResourceExhausted, http.StatusRequestHeaderFieldsTooLarge, "The request's header is too large"},
	ClientGone:                {"CLIENT_GONE", codes.Canceled, StatusClientClosedRequest, "The client went away"},
	DeadlineExceeded:          {"DEADLINE_EXCEEDED", codes.DeadlineExceeded, http.StatusGatewayTimeout, "The deadline passed"},
	RequestTimeout:            {"REQUEST_TIMEOUT", codes.DeadlineExceeded, http.StatusRequestTimeout, "The request did not come in time"},
	NotCached:                 {"NOT_CACHED", codes.Unavailable, http.StatusGatewayTimeout, "The cache does not have it"},
	DescriptorsMissing:        {"DESCRIPTORS_MISSING", codes.Unavailable, http.StatusServiceUnavailable, "The service is not described yet"},
	UpstreamUnreachable:       {"UPSTREAM_UNREACHABLE", codes.Unavailable, http.StatusServiceUnavailable, "No backend can be reached"},
	UpstreamDisconnected:      {"UPSTREAM_DISCONNECTED", codes.Unavailable, http.StatusServiceUnavailable, "The backend broke the connection"},
	UpstreamOverloaded:        {"UPSTREAM_OVERLOADED", codes.Unavailable, http.StatusServiceUnavailable, "The backends have as many requests as they may"},
	UpstreamAnswerInvalid:     {"UPSTREAM_ANSWER_INVALID", codes.Internal, http.StatusInternalServerError, "The backend's answer is malformed"},
	UpstreamAnswerTooLarge:    {"UPSTREAM_ANSWER_TOO_LARGE", codes.Internal, http.StatusInternalServerError, "The backend's answer is too large"},
	UpstreamResponseInvalid:   {"UPSTREAM_RESPONSE_INVALID", codes.Unavailable, http.StatusBadGateway, "The backend's answer is not valid HTTP"},
	ConfigurationRefused:      {"CONFIGURATION_REFUSED", codes.FailedPrecondition, http.StatusBadRequest, "The configuration does not compile"},
	DescriptorSetInvalid:      {"DESCRIPTOR_SET_INVALID", codes.InvalidArgument, http.StatusBadRequest, "The descriptor set does not compile"},
	DescriptorSetNotFound:     {"DESCRIPTOR_SET_NOT_FOUND", codes.NotFound, http.StatusNotFound, "No such descriptor set is registered"},
	DescriptorSetIncompatible: {"DESCRIPTOR_SET_INCOMPATIBLE", codes.FailedPrecondition, http.StatusConflict, "The descriptor set breaks callers"},
	RegistrationConflict:      {"REGISTRATION_CONFLICT", codes.Aborted, http.StatusConflict, "Another registration came between"},
	VariantNotFound:           {"VARIANT_NOT_FOUND", codes.NotFound, http.StatusNotFound, "No release has such a variant"},
	StoreUnavailable:          {"STORE_UNAVAILABLE", codes.Unavailable, http.StatusServiceUnavailable, "Redis cannot be reached"},
	ShuttingDown:              {"SHUTTING_DOWN", codes.Unavailable, http.StatusServiceUnavailable, "The gateway is going away"},
}

// String returns the reason as ErrorInfo has it.
func (r Reason) String() string { return table[r].name }

// Code returns the gRPC code of the reason.
func (r Reason) Code() codes.Code { return table[r].code }

// HTTPStatus returns the HTTP status of the reason. Where HTTP says more than gRPC it is not the one of the code: 405,
// 408, 409, 413, 415, 426, 431, 502 and 504.
func (r Reason) HTTPStatus() int { return table[r].http }

// Title says in a few words what the reason means; it is the same for each occurrence (RFC 9457 section 3.1.3).
func (r Reason) Title() string { return table[r].title }

// All returns every reason.
func All() []Reason {
	list := make([]Reason, reasons)
	for i := range list {
		list[i] = Reason(i)
	}
	return list
}
