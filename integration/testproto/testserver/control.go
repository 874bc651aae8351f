package testserver

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/crossgate/crossgate/integration/testproto"
)

// control serves testproto.Control.
type control struct {
	testproto.UnimplementedControlServer
}

func (control) Fail(_ context.Context, r *testproto.FailRequest) (*emptypb.Empty, error) {
	if r.GetCode() == 0 {
		return &emptypb.Empty{}, nil
	}
	return nil, status.ErrorProto(&spb.Status{Code: r.GetCode(), Message: r.GetMessage(), Details: r.GetDetails()})
}

func (control) Wait(ctx context.Context, r *testproto.WaitRequest) (*emptypb.Empty, error) {
	if err := wait(ctx, r.GetTime().AsDuration()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (control) Inspect(ctx context.Context, _ *testproto.InspectRequest) (*testproto.InspectResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	answer := &testproto.InspectResponse{Metadata: map[string]*testproto.InspectResponse_Values{}}
	for key, values := range md {
		if key == ":authority" {
			answer.Authority = values[0]
			continue
		}
		shown := &testproto.InspectResponse_Values{}
		for _, v := range values {
			if strings.HasSuffix(key, "-bin") {
				v = base64.StdEncoding.EncodeToString([]byte(v))
			}
			shown.Values = append(shown.Values, v)
		}
		answer.Metadata[key] = shown
	}
	if deadline, ok := ctx.Deadline(); ok {
		answer.TimeLeft = durationpb.New(time.Until(deadline))
	}
	return answer, nil
}
