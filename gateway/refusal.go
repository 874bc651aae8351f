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
	switch f.Kind {
	case admission.MethodNotAllowed:
		h.Set("Allow", strings.Join(f.Allow, ", "))
	case admission.Unauthenticated:
		if f.Challenge != "" {
			h.Set("WWW-Authenticate", f.Challenge)
		}
	case admission.LimitExceeded:
		setLimitHeader(h, f.Limit)
	}
	e := fault.New(reasonOf(f.Kind), f.Reason)
	if f.RetryAfter > 0 {
		setRetryAfter(h, f.RetryAfter)
		e.Details = append(e.Details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	x.fail(e)
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
	case admission.BadRequest:
		return fault.MalformedPath
	case admission.IdentityUnavailable:
		return fault.IdentityUnavailable
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
	case admission.BadRequest:
		return telemetry.RefusedBadRequest
	}
	return telemetry.RefusedUnavailable
}

// setLimitHeaders shows the tightest of a request's limits (draft-ietf-httpapi-ratelimit-headers).
func setLimitHeaders(h http.Header, limits []ratelimit.Decision) {
	if len(limits) == 0 {
		return
	}
	tightest := limits[0]
	for _, d := range limits[1:] {
		if d.Remaining*tightest.Limit < tightest.Remaining*d.Limit {
			tightest = d
		}
	}
	setLimitHeader(h, tightest)
}

func setLimitHeader(h http.Header, d ratelimit.Decision) {
	var buf [64]byte
	b := append(buf[:0], `"limit";r=`...)
	b = strconv.AppendInt(b, int64(d.Remaining), 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, ceilSeconds(d.Reset), 10)
	h["Ratelimit"] = []string{string(b)}
	b = append(buf[:0], `"limit";q=`...)
	b = strconv.AppendInt(b, int64(d.Limit), 10)
	h["Ratelimit-Policy"] = []string{string(b)}
}

// setRetryAfter writes whole seconds (RFC 9110 section 10.2.3), at least one.
func setRetryAfter(h http.Header, d time.Duration) {
	h["Retry-After"] = []string{strconv.FormatInt(max(1, ceilSeconds(d)), 10)}
}

func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
