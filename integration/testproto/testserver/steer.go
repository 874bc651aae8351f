package testserver

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// unary does to a unary call what its metadata says.
func (s *Server) unary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (answer any, err error) {
	s.calls.Add(1)
	defer func() { s.ended(err) }()
	md, _ := metadata.FromIncomingContext(ctx)
	if err := grpc.SetHeader(ctx, returned(md)); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, withPrefix(md, "x-test-trailer-")); err != nil {
		return nil, err
	}
	if first(md, "x-test-send-header") != "" {
		if err := grpc.SendHeader(ctx, nil); err != nil {
			return nil, err
		}
	}
	if err := obey(ctx, md); err != nil {
		return nil, err
	}
	return next(ctx, request)
}

// stream does to a streaming call what its metadata says.
func (s *Server) stream(service any, call grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	s.calls.Add(1)
	defer func() { s.ended(err) }()
	md, _ := metadata.FromIncomingContext(call.Context())
	if err := call.SetHeader(returned(md)); err != nil {
		return err
	}
	call.SetTrailer(withPrefix(md, "x-test-trailer-"))
	if err := obey(call.Context(), md); err != nil {
		return err
	}
	return next(service, call)
}

// obey waits and fails as the metadata says.
func obey(ctx context.Context, md metadata.MD) error {
	if delay := first(md, "x-test-delay"); delay != "" {
		d, err := time.ParseDuration(delay)
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "x-test-delay: %v", err)
		}
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
	if code := first(md, "x-test-code"); code != "" {
		n, err := strconv.ParseUint(code, 10, 32)
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "x-test-code: %v", err)
		}
		return status.Error(codes.Code(n), first(md, "x-test-message"))
	}
	return nil
}

// wait returns after d, or with the context's status when that ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		// grpc-go's server may cancel a call at its deadline before the context has noticed it.
		if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
		return status.FromContextError(ctx.Err()).Err()
	}
}

func first(md metadata.MD, key string) string {
	if values := md.Get(key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// returned is the response metadata that a call asks for.
func returned(md metadata.MD) metadata.MD {
	header := withPrefix(md, "x-test-header-")
	for key, values := range md {
		if name, ok := strings.CutPrefix(key, "x-test-return-"); ok {
			header[name] = values
		}
	}
	return header
}

func withPrefix(md metadata.MD, prefix string) metadata.MD {
	found := metadata.MD{}
	for key, values := range md {
		if strings.HasPrefix(key, prefix) {
			found[key] = values
		}
	}
	return found
}
