package fault

import (
	"testing"

	"google.golang.org/grpc/codes"
)

func TestCodesOfHTTPStatusesAreThoseOfGRPC(t *testing.T) {
	for status, want := range map[int]codes.Code{
		400: codes.Internal, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 404: codes.Unimplemented,
		429: codes.Unavailable, 502: codes.Unavailable, 503: codes.Unavailable, 504: codes.Unavailable, 200: codes.Unknown, 500: codes.Unknown,
	} {
		if got := CodeOfHTTP(status); got != want {
			t.Errorf("%d is %v, want %v", status, got, want)
		}
	}
}
