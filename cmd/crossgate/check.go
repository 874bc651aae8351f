package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/crossgate/crossgate/gateway"
)

func checkCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Compile a configuration with its descriptors and print every error with file:line:column",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := checked(cmd, path)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "ok: %d routes, %d bindings\n", r.Routes, len(r.Bindings))
			return nil
		},
	}
	configFlag(cmd, &path)
	return cmd
}

func routesCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "routes -c FILE",
		Short: "Print every route and REST binding, and the gRPC method it calls",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := checked(cmd, path)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ROUTE\tKIND\tMETHOD\tHOST\tPATH\tCALLS\tUPSTREAM")
			for _, b := range r.Bindings {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Route, b.Kind, b.Method, cmp.Or(strings.Join(b.Hosts, ","), "*"), b.Path, b.Target, b.Upstream)
			}
			return w.Flush()
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// checked compiles the configuration and prints its warnings.
func checked(cmd *cobra.Command, path string) (*gateway.Report, error) {
	r, err := gateway.Check(cmd.Context(), path)
	if err != nil {
		return nil, err
	}
	for _, warning := range r.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
	}
	return r, nil
}
