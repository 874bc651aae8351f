package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TCP asks for a connection.
func TCP(dial func(ctx context.Context) (net.Conn, error)) Check {
	return func(ctx context.Context) error {
		c, err := dial(ctx)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// HTTP asks with a GET. Redirects are not followed: they say nothing of the backend.
func HTTP(transport http.RoundTripper, url, host string) Check {
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		r.Host = host
		r.Header.Set("User-Agent", "crossgate")
		answer, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
		if answer.StatusCode < 200 || answer.StatusCode > 299 {
			return fmt.Errorf("it answers HTTP %d", answer.StatusCode)
		}
		return nil
	}
}

// GRPC asks grpc.health.v1.Health (GRPC Health Checking Protocol) over a connection.
func GRPC(conn grpc.ClientConnInterface, service string) Check {
	client := healthpb.NewHealthClient(conn)
	return func(ctx context.Context) error {
		answer, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		switch {
		case err != nil:
			return err
		case answer.Status != healthpb.HealthCheckResponse_SERVING:
			return errors.New("it answers " + answer.Status.String())
		}
		return nil
	}
}
