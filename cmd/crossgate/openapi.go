package main

import "github.com/spf13/cobra"

func openapiCommand() *cobra.Command {
	var path, host string
	cmd := &cobra.Command{
		Use:   "openapi -c FILE",
		Short: "Print the OpenAPI 3.1 document of a configuration's gRPC routes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := checked(cmd, path)
			if err != nil {
				return err
			}
			text, err := r.OpenAPI(host)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(append(text, '\n'))
			return err
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&host, "host", "", "only the routes that requests for this host reach")
	return cmd
}
