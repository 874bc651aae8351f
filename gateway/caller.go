package gateway

import (
	"context"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/upstream"
)

// caller makes an authorisation service's calls over the connections of an upstream.
type caller struct{ pool *upstream.Pool }

// callersOf finds who calls an upstream.
func callersOf(s *upstream.Set) func(string) auth.Caller {
	return func(name string) auth.Caller {
		if p := s.Pool(name); p != nil {
			return caller{p}
		}
		return nil
	}
}

// Call implements auth.Caller.
func (c caller) Call(ctx context.Context, method string, request []byte) ([]byte, error) {
	reply := new(upstream.Reply)
	if err := c.pool.Invoke(ctx, &upstream.Call{Method: method, Request: request}, reply); err != nil {
		return nil, err
	}
	return reply.Bytes(), nil
}
