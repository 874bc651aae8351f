package client_test

import (
	"bytes"
	"fmt"

	"github.com/crossgate/crossgate/client"
)

func ExampleModule() {
	fmt.Println(bytes.Contains(client.Module(), []byte("export function connect(")))
	// Output: true
}
