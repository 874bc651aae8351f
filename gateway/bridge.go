package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/crossgate/crossgate/auth"
	bridgev1 "github.com/crossgate/crossgate/proto/crossgate/bridge/v1"
	"github.com/crossgate/crossgate/wsbridge"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// bridge is the service crossgate.bridge.v1.Bridge.
type bridge struct {
	bridgev1.UnimplementedBridgeServer
	gateway *Gateway
}

const (
	defaultPageSize = 100
	maxPageSize     = 1000
)

// Publish implements bridgev1.BridgeServer.
func (b *bridge) Publish(ctx context.Context, r *bridgev1.PublishRequest) (*bridgev1.PublishResponse, error) {
	payload, isJSON, err := payloadOf(r)
	if err != nil {
		return nil, err
	}
	node := b.gateway.node
	answer := &bridgev1.PublishResponse{}
	switch to := r.GetTarget().(type) {
	case *bridgev1.PublishRequest_Connection:
		id, err := connectionID(to.Connection)
		if err != nil {
			return nil, err
		}
		data, bytes := payload, []byte(nil)
		if !isJSON {
			data, bytes = nil, payload
		}
		found, missing, err := node.Send(ctx, id, data, bytes)
		if err == nil && !found {
			err = notFound(missing)
		}
		return answer, bridgeError(err)
	case *bridgev1.PublishRequest_User:
		if to.User == "" {
			return nil, status.Error(codes.InvalidArgument, "user: expected a name")
		}
		_, err = node.SendUser(ctx, to.User, payload)
	case *bridgev1.PublishRequest_Channel:
		if err := checkChannel(to.Channel); err != nil {
			return nil, err
		}
		var at bus.Position
		at, err = node.SendChannel(ctx, to.Channel, payload, b.gateway.snapshot.Load().history(to.Channel), r.GetRequestId())
		answer.Epoch, answer.Offset = at.Epoch, at.Offset
	case *bridgev1.PublishRequest_Everyone:
		if !to.Everyone {
			return nil, status.Error(codes.InvalidArgument, "everyone: expected true")
		}
		_, err = node.SendAll(ctx, payload)
	default:
		return nil, status.Error(codes.InvalidArgument, "expected one of connection, user, channel and everyone")
	}
	return answer, bridgeError(err)
}

func payloadOf(r *bridgev1.PublishRequest) (payload []byte, isJSON bool, err error) {
	switch p := r.GetPayload().(type) {
	case *bridgev1.PublishRequest_Data:
		payload, err = json.Marshal(p.Data.AsInterface())
		if err != nil {
			return nil, false, status.Error(codes.InvalidArgument, "data: has no JSON form")
		}
	case *bridgev1.PublishRequest_Json:
		if payload = []byte(p.Json); !json.Valid(payload) {
			return nil, false, status.Error(codes.InvalidArgument, "json: is not JSON")
		}
	case *bridgev1.PublishRequest_Bytes:
		return p.Bytes, false, nil
	default:
		return nil, false, status.Error(codes.InvalidArgument, "expected one of data, json and bytes")
	}
	return payload, true, nil
}

// ListConnections implements bridgev1.BridgeServer.
func (b *bridge) ListConnections(ctx context.Context, r *bridgev1.ListConnectionsRequest) (*bridgev1.ListConnectionsResponse, error) {
	size, err := pageSize(r.GetPageSize())
	if err != nil {
		return nil, err
	}
	list, more, missing, err := b.gateway.node.List(ctx, wsbridge.Filter{User: r.GetUser(), Channel: r.GetChannel()}, size, r.GetPageToken())
	if err != nil {
		return nil, bridgeError(err)
	}
	answer := &bridgev1.ListConnectionsResponse{UnreachableNodes: int32(missing)}
	for i := range list {
		answer.Connections = append(answer.Connections, connectionOf(&list[i]))
	}
	if more {
		answer.NextPageToken = list[len(list)-1].ID
	}
	return answer, nil
}

// GetConnection implements bridgev1.BridgeServer.
func (b *bridge) GetConnection(ctx context.Context, r *bridgev1.GetConnectionRequest) (*bridgev1.Connection, error) {
	id, err := connectionID(r.GetName())
	if err != nil {
		return nil, err
	}
	list, _, missing, err := b.gateway.node.List(ctx, wsbridge.Filter{Connection: id}, 1, "")
	if err != nil {
		return nil, bridgeError(err)
	}
	if len(list) == 0 {
		return nil, bridgeError(notFound(missing))
	}
	return connectionOf(&list[0]), nil
}

// Disconnect implements bridgev1.BridgeServer.
func (b *bridge) Disconnect(ctx context.Context, r *bridgev1.DisconnectRequest) (*bridgev1.DisconnectResponse, error) {
	if code := int(r.GetCode()); code != 0 && !wsbridge.ValidCloseCode(code) {
		return nil, status.Error(codes.InvalidArgument, "code: expected 1000, or 3000 to 4999")
	}
	if len(r.GetReason()) > wsbridge.MaxReason {
		return nil, status.Errorf(codes.InvalidArgument, "reason: expected at most %d bytes", wsbridge.MaxReason)
	}
	var id, user string
	switch whom := r.GetTarget().(type) {
	case *bridgev1.DisconnectRequest_Connection:
		var err error
		if id, err = connectionID(whom.Connection); err != nil {
			return nil, err
		}
	case *bridgev1.DisconnectRequest_User:
		user = whom.User
	}
	if id == "" && user == "" {
		return nil, status.Error(codes.InvalidArgument, "expected a connection or a user")
	}
	closed, missing, err := b.gateway.node.Disconnect(ctx, id, user, int(r.GetCode()), r.GetReason())
	if err == nil && closed == 0 && id != "" {
		err = notFound(missing)
	}
	if err != nil {
		return nil, bridgeError(err)
	}
	return &bridgev1.DisconnectResponse{Disconnected: int32(closed), UnreachableNodes: int32(missing)}, nil
}

// Presence implements bridgev1.BridgeServer.
func (b *bridge) Presence(ctx context.Context, r *bridgev1.PresenceRequest) (*bridgev1.PresenceResponse, error) {
	size, err := pageSize(r.GetPageSize())
	if err == nil {
		err = checkChannel(r.GetChannel())
	}
	if err != nil {
		return nil, err
	}
	p, err := b.gateway.node.Presence(ctx, r.GetChannel(), r.GetPageToken(), size)
	if err != nil {
		return nil, bridgeError(err)
	}
	answer := &bridgev1.PresenceResponse{Connections: p.Connections, Users: p.Users, NextPageToken: p.Next}
	for i := range p.Members {
		m := &p.Members[i]
		info := new(structpb.Value)
		if len(m.Info) == 0 || string(m.Info) == "null" || protojson.Unmarshal(m.Info, info) != nil {
			info = nil
		}
		answer.Members = append(answer.Members, &bridgev1.PresentConnection{Connection: connections + m.Connection, User: m.User, Info: info})
	}
	return answer, nil
}

// CountPresence implements bridgev1.BridgeServer.
func (b *bridge) CountPresence(ctx context.Context, r *bridgev1.CountPresenceRequest) (*bridgev1.CountPresenceResponse, error) {
	if err := checkChannel(r.GetChannel()); err != nil {
		return nil, err
	}
	p, err := b.gateway.node.Presence(ctx, r.GetChannel(), "", 0)
	if err != nil {
		return nil, bridgeError(err)
	}
	return &bridgev1.CountPresenceResponse{Connections: p.Connections, Users: p.Users}, nil
}

func pageSize(asked int32) (int, error) {
	switch {
	case asked < 0:
		return 0, status.Error(codes.InvalidArgument, "page_size: expected a positive number")
	case asked == 0:
		return defaultPageSize, nil
	}
	return min(int(asked), maxPageSize), nil
}

func checkChannel(name string) error {
	if !wsbridge.ValidChannel(name) {
		return status.Error(codes.InvalidArgument, "channel: expected 1 to 255 printable ASCII characters without spaces and braces")
	}
	return nil
}

// RevokeCredentials implements bridgev1.BridgeServer.
func (b *bridge) RevokeCredentials(ctx context.Context, r *bridgev1.RevokeCredentialsRequest) (*bridgev1.Revocation, error) {
	asked := r.GetRevocation()
	if (asked.GetUser() == "") == (asked.GetTokenId() == "") {
		return nil, status.Error(codes.InvalidArgument, "expected exactly one of user and token_id")
	}
	one := auth.Revocation{User: asked.GetUser(), TokenID: asked.GetTokenId(), Before: timeOf(asked.GetBeforeTime()), Until: timeOf(asked.GetExpireTime())}
	if !one.Until.IsZero() && one.Until.Before(time.Now()) {
		return nil, status.Error(codes.InvalidArgument, "expire_time: is over already")
	}
	one, err := b.gateway.node.Revoke(ctx, one)
	if err != nil {
		return nil, bridgeError(err)
	}
	return revocationOf(one), nil
}

// ListRevocations implements bridgev1.BridgeServer.
func (b *bridge) ListRevocations(ctx context.Context, _ *bridgev1.ListRevocationsRequest) (*bridgev1.ListRevocationsResponse, error) {
	list, err := b.gateway.node.Revocations(ctx)
	if err != nil {
		return nil, bridgeError(err)
	}
	answer := &bridgev1.ListRevocationsResponse{}
	for _, one := range list {
		answer.Revocations = append(answer.Revocations, revocationOf(one))
	}
	return answer, nil
}

const connections = "connections/"

func connectionID(name string) (string, error) {
	id, ok := strings.CutPrefix(name, connections)
	if !ok || id == "" {
		return "", status.Error(codes.InvalidArgument, "expected the name of a connection, connections/{connection}")
	}
	return id, nil
}

// notFound is the answer where no node has the connection.
func notFound(missing int) error {
	if missing > 0 {
		return status.Errorf(codes.Unavailable, "no node that answers has the connection; %d have not answered in time", missing)
	}
	return status.Error(codes.NotFound, "no node has the connection")
}

// bridgeError keeps what Redis said to itself.
func bridgeError(err error) error {
	if _, isStatus := status.FromError(err); isStatus {
		return err
	}
	if errors.Is(err, wsbridge.ErrNext) {
		return status.Error(codes.InvalidArgument, "page_token: expected the next_page_token of a page of the channel")
	}
	if errors.Is(err, bus.ErrDown) {
		return status.Error(codes.Unavailable, "Redis cannot be reached")
	}
	return status.Error(codes.FailedPrecondition, err.Error())
}

func connectionOf(c *bus.Connection) *bridgev1.Connection {
	return &bridgev1.Connection{
		Name: connections + c.ID, Node: c.Node, Route: c.Route, User: c.User, AuthProvider: c.Provider, Roles: c.Roles,
		Address: c.Address, Transport: c.Transport, CreateTime: timestamp(c.Connected), ExpireTime: timestamp(c.Expires),
		Channels: c.Channels, QueuedBytes: int64(c.Queued),
	}
}

func revocationOf(r auth.Revocation) *bridgev1.Revocation {
	return &bridgev1.Revocation{User: r.User, TokenId: r.TokenID, BeforeTime: timestamp(r.Before), ExpireTime: timestamp(r.Until)}
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
