package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/config"
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
	bridge, err := newAdminBridge(g, guard)
	if err != nil {
		socket.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", g.telemetry.Handler())
	mux.HandleFunc("GET /v1/status", a.status)
	mux.HandleFunc("GET /v1/routes", a.routes)
	mux.HandleFunc("GET /v1/upstreams", a.upstreams)
	mux.HandleFunc("GET /v1/openapi", a.openAPI)
	mux.HandleFunc("GET /v1/identity/jwks.json", a.identityKeys)
	mux.HandleFunc("POST /v1/reload", guard.change(a.reload))
	mux.HandleFunc("POST /v1/cache:purge", guard.change(a.purgeCache))
	mux.HandleFunc("GET /v1/descriptorSets", a.listSets)
	mux.HandleFunc("GET /v1/descriptorSets/{name}", a.getSet)
	mux.HandleFunc("GET /v1/descriptorSets/{name}/versions", a.listVersions)
	mux.HandleFunc("POST /v1/descriptorSets", guard.change(a.createSet))
	mux.HandleFunc("POST /v1/descriptorSets/{name}", guard.change(a.rollbackSet)) // {name}:rollback
	mux.HandleFunc("DELETE /v1/descriptorSets/{name}", guard.change(a.deleteSet))
	mux.HandleFunc("GET /v1/releases", a.listReleases)
	mux.HandleFunc("POST /v1/releases/{release}/variants/{variant}", guard.change(a.changeVariant)) // {variant}:rollback or :reset
	mux.Handle("/", bridge)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	a.server = &http.Server{
		Protocols:         &protocols,
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          newServerLog(g.telemetry.Logger),
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

// openAPI answers with the document of all gRPC routes, or of those that a host reaches.
func (a *admin) openAPI(w http.ResponseWriter, r *http.Request) {
	text, err := a.gateway.snapshot.Load().openAPI(r.URL.Query().Get("host"))
	if err != nil {
		transcoder.WriteError(w, r, &fault.Error{Reason: fault.Internal, Message: "the document could not be made", Cause: err})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
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

func writeMessage(w http.ResponseWriter, m proto.Message) {
	text, err := protojson.MarshalOptions{EmitUnpopulated: false}.Marshal(m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}

// identityKeys publishes the keys by which backends verify whom they are told of.
func (a *admin) identityKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = w.Write(a.gateway.snapshot.Load().signer.JWKS())
}
