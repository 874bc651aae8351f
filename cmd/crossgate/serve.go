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
			hangups, stop := notifyHangups()
			defer stop()
			g, err := gateway.Start(cmd.Context(), gateway.Options{ConfigPath: path, Log: cmd.ErrOrStderr()})
			if err != nil {
				return err
			}
			return run(cmd.Context(), g, hangups)
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

// notifyHangups has SIGHUPs come by a channel. It is called before the gateway starts: one that comes to a gateway which is just
// ready must not end it.
func notifyHangups() (hangups chan os.Signal, stop func()) {
	hangups = make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups, func() { signal.Stop(hangups) }
}

// run serves until ctx ends, reloads on a hangup, and drains.
func run(ctx context.Context, g *gateway.Gateway, hangups <-chan os.Signal) error {
	for {
		select {
		case <-hangups:
			// A configuration that does not compile changes nothing; the gateway has logged why.
			_ = g.Reload(ctx)
		case <-ctx.Done():
			return g.Shutdown()
		}
	}
}
