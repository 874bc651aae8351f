package transcoder_test

import (
	"fmt"
	"net/http/httptest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/transcoder"
)

func ExampleWriteError() {
	w := httptest.NewRecorder()
	transcoder.WriteError(w, httptest.NewRequest("GET", "/v1/items/7", nil), status.Error(codes.NotFound, "no item 7"))
	fmt.Println(w.Code, w.Body)
	// Output: 404 {"code":5,"message":"no item 7","details":[]}
}
