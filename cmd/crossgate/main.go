// Command crossgate is the gateway: `crossgate dev` to try it, `crossgate serve` to run it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "crossgate",
		Short:         "An edge gateway: REST to gRPC from descriptors, WebSocket to services over Redis",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), devCommand(), checkCommand(), routesCommand(), upstreamsCommand(), openapiCommand(), descriptorsCommand(),
		schemaCommand(), demoCommand(), healthCommand(), keyCommand(), versionCommand())
	return root
}
