package fault_test

import (
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/fault"
)

func Example() {
	var err error = fault.Errorf(fault.NoRoute, "no route for this path")
	s := status.Convert(err)
	info := s.Details()[0].(*errdetails.ErrorInfo)
	fmt.Println(s.Code(), s.Message(), info.GetReason(), info.GetDomain())
	// Output: NotFound no route for this path NO_ROUTE crossgate
}
