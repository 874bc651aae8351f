package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/crossgate/crossgate/descriptors"
)

func descriptorsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "descriptors", Short: "Look into descriptor sets"}
	cmd.AddCommand(&cobra.Command{
		Use:   "inspect FILE",
		Short: "List the services, methods and REST bindings of a FileDescriptorSet",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			services, err := descriptors.Inspect(args[0], raw)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, s := range services {
				fmt.Fprintln(w, s.Descriptor.FullName())
				for _, m := range s.Methods {
					fmt.Fprintf(w, "  %s\t%s\n", m.Descriptor.Name(), m.Kind())
					for _, b := range m.Bindings {
						fmt.Fprintf(w, "    %s\t%s\t%s\n", b.HTTPMethod, b.Template, bodies(b))
					}
				}
			}
			return w.Flush()
		},
	})
	return cmd
}

func bodies(b descriptors.Binding) string {
	s := ""
	if b.Body != "" {
		s = "body: " + b.Body
	}
	if b.ResponseBody != "" {
		s += " response_body: " + b.ResponseBody
	}
	return s
}
