package admission_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/crossgate/crossgate/admission"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/ratelimit"
	"github.com/crossgate/crossgate/routing"
)

func Example() {
	policy, err := admission.CompilePolicy(&config.Route{
		Name:       "shop",
		RateLimits: []config.RateLimit{{Per: []string{"ip"}, Rate: config.Rate{Events: 1, Per: time.Minute}}},
	}, nil, admission.Stores{Memory: ratelimit.NewMemory()})
	if err != nil {
		fmt.Println(err)
		return
	}
	template, err := routing.ParseTemplate("/v1/items/{id}")
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := routing.Compile([]routing.Rule[*admission.Route]{{
		Methods: []string{"GET"}, Template: template, Value: &admission.Route{Policy: policy, Binding: template.String()},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	admitter := admission.New(table)

	request := &admission.Request{Client: netip.MustParseAddr("192.0.2.1")}
	request.Method, request.Path = "GET", "/v1/items/7"
	var ticket admission.Ticket
	for range 2 {
		if refusal := admitter.Admit(context.Background(), request, &ticket); refusal != nil {
			fmt.Println("refused:", refusal.Reason)
			continue
		}
		fmt.Println("admitted:", ticket.Route.Name, ticket.Vars.Get("id"), ticket.Limits[0].Remaining)
	}
	// Output:
	// admitted: shop 7 0
	// refused: too many requests
}
