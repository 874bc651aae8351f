package routing_test

import (
	"fmt"

	"github.com/crossgate/crossgate/routing"
)

func ExampleTable_Match() {
	read, _ := routing.ParseTemplate("/v1/{name=shelves/*/books/**}:read")
	table, err := routing.Compile([]routing.Rule[string]{{Methods: []string{"GET"}, Template: read, Value: "Library.ReadBook"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	vars := make(routing.Vars, 0, 8) // used again for the next request
	method, vars, outcome := table.Match(&routing.Request{Method: "GET", Path: "/v1/shelves/7/books/go%20by%20heart:read"}, vars)
	fmt.Println(outcome == routing.Matched, method, vars.Get("name"))
	// Output: true Library.ReadBook shelves/7/books/go by heart
}
