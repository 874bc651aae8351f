package upstream

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
)

// outcome is how a request ended, as far as it tells of the endpoint.
type outcome uint8

const (
	unjudged       outcome = iota // the caller gave it up, or it says nothing
	succeeded                     // also with an answer that is the caller's fault
	failed                        // the backend says that it failed: HTTP 500, and what gRPC amounts to that
	gatewayFailed                 // it says so as a gateway does: HTTP 502, 503 and 504
	disconnected                  // it could not be reached, or broke off
	endedByTimeout                // it did not answer in time
)

// outcomeOfCode judges a call by its gRPC status, as Envoy does by the HTTP status that each amounts to, but for
// UNIMPLEMENTED: a caller makes that by asking for what is not there.
func outcomeOfCode(c codes.Code) outcome {
	switch c {
	case codes.Unavailable:
		return gatewayFailed
	case codes.DeadlineExceeded:
		return endedByTimeout
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return failed
	}
	return succeeded
}

// outcomeOfHTTP judges a request by the HTTP status of its answer.
func outcomeOfHTTP(status int) outcome {
	switch {
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return gatewayFailed
	case status >= http.StatusInternalServerError && status != http.StatusNotImplemented:
		return failed
	}
	return succeeded
}

// outcomeOfHeaders judges an answer of which there are only the headers: a call of gRPC may be nothing but a status.
func outcomeOfHeaders(answer *http.Response) outcome {
	if isGRPC(answer) {
		if code, err := strconv.ParseUint(answer.Header.Get("Grpc-Status"), 10, 8); err == nil {
			return outcomeOfCode(codes.Code(code))
		}
	}
	return outcomeOfHTTP(answer.StatusCode)
}

// outcomeOf judges a call by its error. ctx is the caller's.
func outcomeOf(ctx context.Context, err error) outcome {
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, fault.ErrDisconnected):
		return disconnected
	case ctx.Err() != nil:
		return outcomeOfContext(ctx)
	}
	return outcomeOfCode(status.Code(err))
}

// outcomeOfContext judges a request that was given up.
func outcomeOfContext(ctx context.Context) outcome {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return endedByTimeout
	}
	return unjudged
}

// patience is how long a request must have lasted for its deadline to tell of the endpoint: callers may set deadlines that
// no endpoint can keep.
const patience = time.Second

// ride is one request while it is at an endpoint.
type ride struct {
	endpoint *endpoint
	start    time.Time // zero where outcomes do not matter
	gate     *gate     // that it leaves when it is done; nil for none
}

// take begins a request at e; false when e has gone.
func (e *endpoint) take() (ride, bool) {
	r := ride{endpoint: e}
	if !e.tracked {
		return r, true
	}
	if e.active.Add(1) <= 0 {
		e.active.Add(-1)
		return r, false
	}
	if e.judged || e.pool.gate != nil {
		r.start = time.Now()
	}
	return r, true
}

// done ends the request, and judges the endpoint by it.
func (r ride) done(o outcome) {
	e := r.endpoint
	if !e.tracked {
		return
	}
	if e.judged && (o != endedByTimeout || time.Since(r.start) >= patience) {
		e.judge(o)
	}
	if r.gate != nil {
		r.gate.leave(time.Since(r.start), unjudged) // judged when it was answered: how long a stream takes is not up to the backend
	}
	if e.active.Add(-1) == 0 && e.retired.Load() {
		e.pool.mu.Lock()
		e.pool.closeIdle(e)
		e.pool.mu.Unlock()
	}
}

// gone is what active is once e is closed, however many more would begin.
const gone = -1 << 62
