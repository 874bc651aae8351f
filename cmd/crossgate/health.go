package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func healthCommand() *cobra.Command {
	var admin string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running gateway whether it is ready; exit 0 when it is (for container health checks)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := http.Client{Timeout: 3 * time.Second}
			answer, err := client.Get("http://" + admin + "/readyz")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("crossgate at %s is not ready: %s", admin, answer.Status)
			}
			return nil
		},
	}
	adminFlag(cmd, &admin)
	return cmd
}

func adminFlag(cmd *cobra.Command, admin *string) {
	cmd.Flags().StringVar(admin, "admin", "127.0.0.1:9901", "address of the admin listener")
}
