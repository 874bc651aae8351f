package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/fault"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/transcoder"
	"github.com/crossgate/crossgate/transcoder/rpc"
)

// refuse tells the caller in its own protocol why it was not admitted.
func (x *exchange) refuse() {
	h, f := x.w.Header(), x.refusal
	if f.Answer != nil {
		x.deny(f.Answer)
		return
	}
	switch f.Kind {
	case admission.MethodNotAllowed:
		h.Set("Allow", strings.Join(f.Allow, ", "))
	case admission.Unauthenticated:
		if x.logIn() {
			return
		}
		if f.Challenge != "" {
			h.Set("WWW-Authenticate", f.Challenge)
		}
	case admission.LimitExceeded:
		setLimits(h, x.target.route.limits, f.Limit)
	}
	if f.RetryAfter > 0 {
		setRetryAfter(h, f.RetryAfter)
	}
	x.fail(faultOf(f))
}

// faultOf is a refusal as an error.
func faultOf(f *admission.Refusal) *fault.Error {
	if f.Fault != nil {
		return f.Fault
	}
	e := fault.New(reasonOf(f.Kind), f.Reason)
	if f.RetryAfter > 0 {
		e.Details = append(e.Details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	if f.Kind == admission.LimitExceeded && f.Limit.Kind == ratelimit.Quota {
		e.Details = append(e.Details, &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{
			Subject: "limit:" + f.Limit.Name, Description: f.Reason, QuotaValue: int64(f.Limit.Max),
		}}})
	}
	return e
}

// fail is the gateway's own no, in the caller's protocol.
func (x *exchange) fail(e *fault.Error) {
	if x.protocol != rpc.None {
		if e.Reason == fault.NoRoute {
			// A server without the method says UNIMPLEMENTED (gRPC, "Status codes and their use in gRPC").
			e.Code = codes.Unimplemented
		}
		x.code = rpc.Refuse(&x.w, x.r, x.protocol, e)
		return
	}
	transcoder.WriteError(&x.w, x.r, e)
}

// reasonOf is what callers are told of a kind of refusal.
func reasonOf(k admission.Kind) fault.Reason {
	switch k {
	case admission.NoRoute:
		return fault.NoRoute
	case admission.MethodNotAllowed:
		return fault.MethodNotAllowed
	case admission.Unauthenticated:
		return fault.Unauthenticated
	case admission.PermissionDenied:
		return fault.PermissionDenied
	case admission.LimitExceeded:
		return fault.RateLimitExceeded
	case admission.Overloaded:
		return fault.Overloaded
	case admission.BadRequest:
		return fault.MalformedPath
	case admission.IdentityUnavailable:
		return fault.IdentityUnavailable
	case admission.CrossOrigin:
		return fault.CrossOriginRefused
	}
	return fault.LimitsUnavailable
}

// refusalOf is the metric of a kind of refusal.
func refusalOf(k admission.Kind) telemetry.Refusal {
	switch k {
	case admission.NoRoute:
		return telemetry.RefusedNoRoute
	case admission.MethodNotAllowed:
		return telemetry.RefusedMethod
	case admission.Unauthenticated:
		return telemetry.RefusedUnauthenticated
	case admission.PermissionDenied:
		return telemetry.RefusedPermission
	case admission.LimitExceeded:
		return telemetry.RefusedLimit
	case admission.Overloaded:
		return telemetry.RefusedOverloaded
	case admission.BadRequest, admission.BodyRefused:
		return telemetry.RefusedBadRequest
	case admission.CrossOrigin:
		return telemetry.RefusedCrossOrigin
	}
	return telemetry.RefusedUnavailable
}

// setRetryAfter writes whole seconds (RFC 9110 section 10.2.3), at least one.
func setRetryAfter(h http.Header, d time.Duration) {
	h["Retry-After"] = []string{strconv.FormatInt(max(1, ceilSeconds(d)), 10)}
}
