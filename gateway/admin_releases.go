package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/fault"
	adminv1 "github.com/crossgate/crossgate/proto/crossgate/admin/v1"
	"github.com/crossgate/crossgate/release"
	"github.com/crossgate/crossgate/transcoder"
)

func (a *admin) listReleases(w http.ResponseWriter, _ *http.Request) {
	writeMessage(w, &adminv1.ListReleasesResponse{Releases: a.gateway.describeReleases()})
}

func (g *Gateway) describeReleases() []*adminv1.Release {
	var list []*adminv1.Release
	for _, r := range g.releases.List() {
		one := &adminv1.Release{Name: "releases/" + r.Name}
		for i := range r.Variants {
			one.Variants = append(one.Variants, describeVariant(one.Name, &r.Variants[i]))
		}
		list = append(list, one)
	}
	return list
}

func describeVariant(release string, v *release.VariantStatus) *adminv1.Variant {
	one := &adminv1.Variant{
		Name: release + "/variants/" + v.Name, Upstream: v.Upstream, SharePercent: v.Share,
		Requests: int64(v.Requests), Failures: int64(v.Failures), Nodes: int32(v.Nodes), Paused: v.Paused,
	}
	if v.P99 > 0 {
		one.P99 = durationpb.New(v.P99)
	}
	if !v.Seen.IsZero() {
		one.FirstSeenTime = timestamppb.New(v.Seen)
	}
	if b := v.RolledBack; b != nil {
		one.Rollback = &adminv1.VariantRollback{Time: timestamppb.New(b.Time), Reason: b.Reason, Detail: b.Detail, Node: b.Node}
	}
	return one
}

// changeVariant serves RollbackVariant and ResetVariant.
func (a *admin) changeVariant(w http.ResponseWriter, r *http.Request) {
	name, verb, _ := strings.Cut(r.PathValue("variant"), ":")
	var change func(context.Context, string, string) error
	switch verb {
	case "rollback":
		change = a.gateway.releases.RollBack
	case "reset":
		change = a.gateway.releases.Reset
	default:
		transcoder.WriteError(w, r, fault.New(fault.NoRoute, "expected POST /v1/releases/{release}/variants/{variant}:rollback or :reset"))
		return
	}
	switch err := change(r.Context(), r.PathValue("release"), name); {
	case errors.Is(err, release.ErrNotFound):
		transcoder.WriteError(w, r, fault.New(fault.VariantNotFound, err.Error()))
		return
	case err != nil:
		transcoder.WriteError(w, r, fault.New(fault.StoreUnavailable, "it holds on this node; the others will know when Redis can be reached"))
		return
	}
	want := "releases/" + r.PathValue("release") + "/variants/" + name
	for _, one := range a.gateway.describeReleases() {
		for _, v := range one.Variants {
			if v.Name == want {
				writeMessage(w, v)
				return
			}
		}
	}
	transcoder.WriteError(w, r, fault.New(fault.VariantNotFound, "the configuration has changed meanwhile"))
}
