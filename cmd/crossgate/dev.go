package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/crossgate/crossgate/demo"
	"github.com/crossgate/crossgate/gateway"
)

func devCommand() *cobra.Command {
	var o demo.Addresses
	var accessLog bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Try it: a gateway, an embedded Redis, a demo gRPC service and a demo chat, with nothing to install",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dev(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), o, accessLog)
		},
	}
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address of the gateway")
	cmd.Flags().StringVar(&o.Admin, "admin", "127.0.0.1:9901", "address of the admin listener")
	cmd.Flags().BoolVar(&accessLog, "access-log", false, "print a line for each request")
	return cmd
}

func dev(ctx context.Context, out, log io.Writer, addresses demo.Addresses, accessLog bool) error {
	shop, err := demo.StartShop("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer shop.Close()
	cfg, err := demo.Config(addresses, shop.Address(), accessLog)
	if err != nil {
		return err
	}
	hangups, stop := notifyHangups()
	defer stop()
	g, err := gateway.Start(ctx, gateway.Options{Config: cfg, Log: log})
	if err != nil {
		return err
	}
	chat, err := demo.StartChat(ctx, "redis://"+g.RedisAddress()+"/0")
	if err != nil {
		return fmt.Errorf("%w (and the gateway ended: %v)", err, g.Shutdown())
	}
	defer chat.Close()
	printTour(out, g)
	return run(ctx, g, hangups)
}

// printTour prints lines that work as they stand.
func printTour(out io.Writer, g *gateway.Gateway) {
	base := "http://" + g.Addresses()[0].String()
	fmt.Fprintf(out, `Crossgate is up. Try, in another terminal:

  a gRPC backend as REST
    curl '%[1]s/v1/shelves/1/items?page_size=2'
    curl --json '{"title":"A lamp","priceMicros":"12500000"}' %[1]s/v1/shelves/1/items

  its documentation, live, in a browser
    %[1]s/docs

  any method by its own path, and a server stream as lines or as events
    curl --json '{"parent":"shelves/1"}' %[1]s/crossgate.demo.v1.Shop/ListItems
    curl -N '%[1]s/v1/items:watch?include_present=true'
    curl -N -H 'Accept: text/event-stream' '%[1]s/v1/items:watch?include_present=true'

  WebSocket to a service over Redis, in two browser tabs
    %[1]s/chat

  what it is doing
    curl http://%[2]s/v1/routes
    curl http://%[2]s/metrics

Redis clients can join at %[3]s. Stop with Ctrl-C.
`, base, g.AdminAddress(), g.RedisAddress())
}
