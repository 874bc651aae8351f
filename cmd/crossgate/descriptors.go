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
	cmd.AddCommand(inspectCommand(), diffCommand())
	return cmd
}

func inspectCommand() *cobra.Command {
	return &cobra.Command{
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
	}
}

func diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "List what a new FileDescriptorSet breaks for callers of the old one; fails when there is something",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var raw [2][]byte
			for i, file := range args {
				var err error
				if raw[i], err = os.ReadFile(file); err != nil {
					return err
				}
			}
			breaks, err := descriptors.Compare(raw[0], raw[1])
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, b := range breaks {
				fmt.Fprintf(w, "%s\t%s\t%s\n", b.Kind, b.Subject, b.Description)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if len(breaks) > 0 {
				return fmt.Errorf("changes that break callers: %d", len(breaks))
			}
			return nil
		},
	}
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
