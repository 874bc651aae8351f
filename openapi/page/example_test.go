package page_test

import (
	"fmt"
	"strings"

	"github.com/crossgate/crossgate/openapi/page"
)

func ExampleHTML() {
	html, err := page.HTML("The shop", "/docs", "/openapi.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Contains(string(html), `data-document="./openapi.json"`))
	for _, f := range page.Files() {
		fmt.Println("/docs/" + f.Name)
	}
	// Output:
	// true
	// /docs/swagger-ui.css
	// /docs/swagger-ui-bundle.js
	// /docs/page.css
	// /docs/page.js
	// /docs/LICENSE
	// /docs/NOTICE
	// /docs/swagger-ui-bundle.js.LICENSE.txt
}
