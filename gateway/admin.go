package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/fault"
	adminv1 "github.com/crossgate/crossgate/proto/crossgate/admin/v1"
	"github.com/crossgate/crossgate/transcoder"
)

// admin is the administration listener: health, metrics, and the API of crossgate/admin/v1/admin.proto. A nil *admin is
// one that is off.
type admin struct {
	gateway *Gateway
	socket  net.Listener
	server  *http.Server
	done    sync.WaitGroup
}

func (g *Gateway) listenAdmin(ctx context.Context, cfg config.Admin) (*admin, error) {
	if cfg.Address == "off" {
		return nil, nil
	}
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, config.Errorf(cfg.Pos, "admin %s: %w", cfg.Address, err)
	}
	a := &admin{gateway: g, socket: socket}
	guard := newAdminGuard(cfg.Token.Reveal())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", g.telemetry.Handler())
	mux.HandleFunc("GET /v1/status", a.status)
	mux.HandleFunc("GET /v1/routes", a.routes)
	mux.HandleFunc("POST /v1/reload", guard.change(a.reload))
	mux.HandleFunc("GET /v1/descriptorSets", a.listSets)
	mux.HandleFunc("GET /v1/descriptorSets/{name}", a.getSet)
	mux.HandleFunc("POST /v1/descriptorSets", guard.change(a.createSet))
	mux.HandleFunc("DELETE /v1/descriptorSets/{name}", guard.change(a.deleteSet))
	a.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(g.telemetry.Logger.Handler(), slog.LevelDebug),
	}
	return a, nil
}

func (a *admin) serve() {
	if a == nil {
		return
	}
	a.done.Go(func() { // ends with close
		if err := a.server.Serve(a.socket); !errors.Is(err, http.ErrServerClosed) {
			a.gateway.telemetry.Logger.Error("admin listener ended", "error", err)
		}
	})
}

func (a *admin) close() {
	if a == nil {
		return
	}
	a.server.Close()
	a.socket.Close()
	a.done.Wait()
}

func (a *admin) addr() net.Addr {
	if a == nil {
		return nil
	}
	return a.socket.Addr()
}

// String is for the log.
func (a *admin) String() string {
	if a == nil {
		return "off"
	}
	return a.socket.Addr().String()
}

func (a *admin) ready(w http.ResponseWriter, _ *http.Request) {
	if err := a.gateway.ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

func (a *admin) routes(w http.ResponseWriter, _ *http.Request) {
	answer := &adminv1.ListRoutesResponse{}
	for _, b := range a.gateway.snapshot.Load().bindings {
		answer.Routes = append(answer.Routes, &adminv1.Route{
			Name: b.Route, Source: b.Source, Hosts: b.Hosts, Method: b.Method, Path: b.Path, Target: b.Target, Upstream: b.Upstream,
		})
	}
	writeMessage(w, answer)
}

func (a *admin) status(w http.ResponseWriter, _ *http.Request) { writeMessage(w, a.gateway.describe()) }

// describe says what the gateway is doing.
func (g *Gateway) describe() *adminv1.Status {
	s := g.snapshot.Load()
	status := &adminv1.Status{
		Version:           g.options.Version,
		Node:              g.node.Name(),
		StartTime:         timestamppb.New(g.started),
		ConfigTime:        timestamppb.New(s.installed),
		Ready:             g.ready() == nil,
		BusConnected:      g.node.BusUp(),
		RequestsInFlight:  g.telemetry.RequestsInFlight(),
		WebsocketSessions: int64(g.node.Connections()),
		Problems:          s.warnings,
	}
	if problem := g.problem.Load(); problem != nil {
		status.Problems = append([]string{*problem}, status.Problems...)
	}
	return status
}

func (a *admin) reload(w http.ResponseWriter, r *http.Request) {
	if err := a.gateway.Reload(r.Context()); err != nil {
		transcoder.WriteError(w, r, fault.New(fault.ConfigurationRefused, err.Error()))
		return
	}
	a.status(w, r)
}

func (a *admin) listSets(w http.ResponseWriter, r *http.Request) {
	list, err := a.gateway.registry.List(r.Context())
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	answer := &adminv1.ListDescriptorSetsResponse{}
	for i := range list {
		answer.DescriptorSets = append(answer.DescriptorSets, describeSet(&list[i]))
	}
	writeMessage(w, answer)
}

func (a *admin) getSet(w http.ResponseWriter, r *http.Request) {
	set, err := a.gateway.registry.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	writeMessage(w, describeSet(&set))
}

// createSet registers a set: compiled into a whole snapshot first, kept in Redis then, and served before the answer goes
// out.
func (a *admin) createSet(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	name := cmp.Or(query.Get("descriptor_set_id"), query.Get("descriptorSetId"), "default")
	if err := descriptors.CheckName(name); err != nil {
		transcoder.WriteError(w, r, fault.New(fault.InvalidRequest, "descriptor_set_id: "+err.Error()))
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, descriptors.MaxSetSize))
	if err != nil {
		transcoder.WriteError(w, r, fault.Errorf(fault.MessageTooLarge, "the body is larger than %d bytes, or ended early", descriptors.MaxSetSize))
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var set adminv1.DescriptorSet
		if err := protojson.Unmarshal(raw, &set); err != nil {
			transcoder.WriteError(w, r, fault.New(fault.InvalidRequest, "the body is no crossgate.admin.v1.DescriptorSet in JSON"))
			return
		}
		raw = set.GetFileDescriptorSet()
	}
	set, err := a.gateway.register(r.Context(), name, raw)
	if err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	writeMessage(w, describeSet(set))
}

func (a *admin) deleteSet(w http.ResponseWriter, r *http.Request) {
	if err := a.gateway.unregister(r.Context(), r.PathValue("name")); err != nil {
		transcoder.WriteError(w, r, setError(err))
		return
	}
	writeMessage(w, &emptypb.Empty{})
}

// setError says whose fault it is that a registered set could not be read or changed: Redis', or the set's.
func setError(err error) error {
	switch {
	case errors.Is(err, descriptors.ErrStore):
		return fault.New(fault.StoreUnavailable, err.Error())
	case errors.Is(err, descriptors.ErrNotRegistered):
		return fault.New(fault.DescriptorSetNotFound, err.Error())
	}
	return fault.New(fault.DescriptorSetInvalid, err.Error())
}

// register checks a set against everything else, stores it and serves it.
func (g *Gateway) register(ctx context.Context, name string, raw []byte) (*descriptors.Registered, error) {
	g.rebuilding.Lock()
	defer g.rebuilding.Unlock()
	set, err := g.loader.LoadWith(ctx, name, raw)
	if err != nil {
		return nil, err
	}
	s, err := g.compileSet(set)
	if err != nil {
		return nil, err
	}
	stored, err := g.registry.Put(ctx, name, raw)
	if err != nil {
		s.close()
		return nil, err
	}
	g.swap(s)
	return &stored, nil
}

func (g *Gateway) unregister(ctx context.Context, name string) error {
	g.rebuilding.Lock()
	defer g.rebuilding.Unlock()
	set, err := g.loader.LoadWithout(ctx, name)
	if err != nil {
		return err
	}
	s, err := g.compileSet(set)
	if err != nil {
		return err
	}
	if err := g.registry.Delete(ctx, name); err != nil {
		s.close()
		return err
	}
	g.swap(s)
	return nil
}

func describeSet(r *descriptors.Registered) *adminv1.DescriptorSet {
	set := &adminv1.DescriptorSet{
		Name: "descriptorSets/" + r.Name, Sha256: r.SHA256, Version: r.Version, CreateTime: timestamppb.New(r.Created), SizeBytes: int64(len(r.Raw)),
	}
	// A set that was stored was compiled before; should it not compile here, it is listed without services.
	if services, err := descriptors.Inspect(r.Name, r.Raw); err == nil {
		for _, s := range services {
			set.Services = append(set.Services, string(s.Descriptor.FullName()))
		}
		slices.Sort(set.Services)
	}
	return set
}

func writeMessage(w http.ResponseWriter, m proto.Message) {
	text, err := protojson.MarshalOptions{EmitUnpopulated: false}.Marshal(m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}
