package gateway

import (
	"math"
	"net/http"

	adminv1 "github.com/crossgate/crossgate/proto/crossgate/admin/v1"
	"github.com/crossgate/crossgate/upstream"
)

// upstreams serves ListUpstreams.
func (a *admin) upstreams(w http.ResponseWriter, _ *http.Request) {
	answer := &adminv1.ListUpstreamsResponse{}
	for _, s := range a.gateway.snapshot.Load().upstreams.Status() {
		answer.Upstreams = append(answer.Upstreams, describeUpstream(&s))
	}
	writeMessage(w, answer)
}

func describeUpstream(s *upstream.Status) *adminv1.Upstream {
	u := &adminv1.Upstream{Name: "upstreams/" + s.Name, Protocol: s.Protocol, Source: s.Source}
	if c := s.Concurrency; c != nil {
		u.Concurrency = &adminv1.Concurrency{Limit: int32(c.Limit), Adaptive: c.Adaptive, Active: int32(c.Active), Waiting: int32(c.Waiting)}
	}
	for i := range s.Endpoints {
		u.Endpoints = append(u.Endpoints, describeEndpoint(&s.Endpoints[i]))
	}
	return u
}

func describeEndpoint(s *upstream.EndpointStatus) *adminv1.Endpoint {
	e := &adminv1.Endpoint{
		Address: s.Address, Zone: s.Zone, Weight: int32(s.Weight), WeightPercent: int32(math.Round(100 * s.Share)), Chosen: s.Chosen,
		EjectedUntilTime: timestamp(s.EjectedUntil), UnreachableUntilTime: timestamp(s.UnreachableUntil),
	}
	switch {
	case s.Sick:
		e.Health = adminv1.Endpoint_UNHEALTHY
	case s.Checked:
		e.Health = adminv1.Endpoint_HEALTHY
	}
	if s.Active >= 0 {
		e.ActiveRequests = &s.Active
	}
	return e
}
