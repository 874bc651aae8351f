package upstream_test

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/upstream"
)

func Example() {
	set, err := upstream.Open([]config.Upstream{{
		Name: "shop", Endpoints: []string{"127.0.0.1:1"}, Connections: 1,
		ConnectTimeout: config.Duration(time.Second), MaxMessageSize: 1 << 20,
	}}, upstream.Options{}, nil)
	if err != nil {
		panic(err)
	}
	defer set.Close()

	reply := new(upstream.Reply)
	defer reply.Reset()
	err = set.Pool("shop").Invoke(context.Background(), &upstream.Call{Method: "/shop.v1.Catalog/GetItem", Request: []byte("\x0a\x01a")}, reply)
	fmt.Println(status.Code(err), status.Convert(err).Message())
	// Output: Unavailable no backend of upstream shop can be reached
}
