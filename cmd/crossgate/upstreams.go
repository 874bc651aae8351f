package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/crossgate/crossgate/proto/crossgate/admin/v1"
)

func upstreamsCommand() *cobra.Command {
	var admin string
	cmd := &cobra.Command{
		Use:   "upstreams",
		Short: "Ask a running gateway for its upstreams and how each endpoint is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listUpstreams(admin)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "UPSTREAM\tENDPOINT\tSTATE\tACTIVE\tWEIGHT\tZONE\tFROM")
			for _, u := range list {
				for _, e := range u.GetEndpoints() {
					active := "-"
					if e.ActiveRequests != nil {
						active = strconv.FormatInt(e.GetActiveRequests(), 10)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", strings.TrimPrefix(u.GetName(), "upstreams/"), e.GetAddress(), stateOf(e), active,
						e.GetWeight(), cmp.Or(e.GetZone(), "-"), u.GetSource())
				}
			}
			return w.Flush()
		},
	}
	adminFlag(cmd, &admin)
	return cmd
}

func listUpstreams(admin string) ([]*adminv1.Upstream, error) {
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get("http://" + admin + "/v1/upstreams")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("crossgate at %s answered %s", admin, answer.Status)
	}
	list := &adminv1.ListUpstreamsResponse{}
	err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, list)
	return list.GetUpstreams(), err
}

// stateOf says what keeps requests from an endpoint.
func stateOf(e *adminv1.Endpoint) string {
	var states []string
	add := func(state string, until *timestamppb.Timestamp) {
		if until != nil {
			states = append(states, state+" until "+until.AsTime().Format(time.RFC3339))
		}
	}
	if e.GetHealth() == adminv1.Endpoint_UNHEALTHY {
		states = append(states, "unhealthy")
	}
	add("ejected", e.GetEjectedUntilTime())
	add("unreachable", e.GetUnreachableUntilTime())
	if e.GetWeightPercent() < 100 {
		states = append(states, fmt.Sprintf("starting, %d%%", e.GetWeightPercent()))
	}
	if len(states) == 0 && !e.GetChosen() {
		return "in reserve"
	}
	return cmp.Or(strings.Join(states, ", "), "ok")
}
