package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/crossgate/crossgate/demo"
)

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "demo", Short: "Run one of the demo services by itself"}

	var address string
	shop := &cobra.Command{
		Use:   "shop",
		Short: "Serve the demo shop over gRPC, with reflection",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := demo.StartShop(address)
			if err != nil {
				return err
			}
			defer s.Close()
			fmt.Fprintln(cmd.OutOrStdout(), "the demo shop serves gRPC at", s.Address())
			<-cmd.Context().Done()
			return nil
		},
	}
	shop.Flags().StringVar(&address, "address", "127.0.0.1:50051", "address to listen on")

	var redis string
	chat := &cobra.Command{
		Use:   "chat",
		Short: "Join the bus as the demo chat service",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := demo.StartChat(cmd.Context(), redis)
			if err != nil {
				return err
			}
			defer c.Close()
			fmt.Fprintln(cmd.OutOrStdout(), "the demo chat service is on the bus")
			<-cmd.Context().Done()
			return nil
		},
	}
	chat.Flags().StringVar(&redis, "redis", "redis://127.0.0.1:6379/0", "the Redis that gateways use")

	page := &cobra.Command{
		Use:   "page",
		Short: "Print the chat page",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(demo.Page())
			return err
		},
	}

	cmd.AddCommand(shop, chat, page)
	return cmd
}
