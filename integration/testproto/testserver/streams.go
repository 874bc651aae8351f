package testserver

import (
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/crossgate/crossgate/integration/testproto"
)

// streams serves testproto.Streams.
type streams struct {
	testproto.UnimplementedStreamsServer
}

func (streams) Count(r *testproto.CountRequest, call grpc.ServerStreamingServer[testproto.CountResponse]) error {
	padding := strings.Repeat("x", int(min(max(r.GetPadding(), 0), 1<<20)))
	for i := range r.GetN() {
		if i > 0 {
			if err := wait(call.Context(), r.GetInterval().AsDuration()); err != nil {
				return err
			}
		}
		if err := call.Send(&testproto.CountResponse{I: i, Padding: padding}); err != nil {
			return err
		}
	}
	if r.GetFail() != 0 {
		return status.Errorf(codes.Code(r.GetFail()), "after %d messages", r.GetN())
	}
	return nil
}

func (streams) Sum(call grpc.ClientStreamingServer[testproto.SumRequest, testproto.SumResponse]) error {
	sum := &testproto.SumResponse{}
	for {
		r, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return call.SendAndClose(sum)
		}
		if err != nil {
			return err
		}
		if r.GetFail() != 0 {
			return status.Errorf(codes.Code(r.GetFail()), "after %d messages", sum.GetCount())
		}
		sum.Sum += r.GetNumber()
		sum.Count++
	}
}

func (streams) Talk(call grpc.BidiStreamingServer[testproto.TalkMessage, testproto.TalkMessage]) error {
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.GetFail() != 0 {
			return status.Error(codes.Code(m.GetFail()), m.GetText())
		}
		if err := call.Send(m); err != nil {
			return err
		}
	}
}
