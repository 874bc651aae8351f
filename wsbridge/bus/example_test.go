package bus_test

import (
	"fmt"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// A service's reply goes to the node that has the connection.
func Example() {
	keys := bus.Keys{Prefix: "cg:"}
	fmt.Println(keys.In("chat"), keys.Node("n1"), keys.Channel("room:42"))

	reply, err := bus.ParseOutbound([]byte(`{"connection":"c1","in_reply_to":"c1-2","data":{"ok":true}}`))
	fmt.Println(reply.Connection, reply.InReplyTo, string(reply.Data), err)
	// Output:
	// cg:in:chat cg:out:node:n1 cg:out:channel:room:42
	// c1 c1-2 {"ok":true} <nil>
}
