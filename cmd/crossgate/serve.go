package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/crossgate/crossgate/gateway"
)

func serveCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "Serve a configuration until SIGTERM; reload it on SIGHUP and when its files change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			g, err := gateway.Start(cmd.Context(), gateway.Options{ConfigPath: path, Log: cmd.ErrOrStderr()})
			if err != nil {
				return err
			}
			return run(cmd.Context(), g)
		},
	}
	configFlag(cmd, &path)
	return cmd
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "", "configuration file, or a folder of them")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err)
	}
}

// run serves until ctx ends, reloads on SIGHUP, and drains.
func run(ctx context.Context, g *gateway.Gateway) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			// A configuration that does not compile changes nothing; the gateway has logged why.
			_ = g.Reload(ctx)
		case <-ctx.Done():
			return g.Shutdown()
		}
	}
}
