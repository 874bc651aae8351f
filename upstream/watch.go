package upstream

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
)

// Watch calls ready each time a connection to a backend has come up, first for those that are up already, until ctx
// ends. It keeps connections from going idle meanwhile.
func (p *Pool) Watch(ctx context.Context, ready func()) {
	watching := make(map[*endpoint]context.CancelFunc)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		changed := p.changes()
		known := p.view.Load().endpoints
		for e, stop := range watching {
			if !slices.Contains(known, e) {
				stop()
				delete(watching, e)
			}
		}
		for _, e := range known {
			if watching[e] == nil {
				one, stop := context.WithCancel(ctx)
				watching[e] = stop
				running.Go(func() { e.watch(one, ready) })
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			for _, stop := range watching {
				stop()
			}
			return
		}
	}
}

// Conn returns the pool as a connection of generated clients, such as that of server reflection.
func (p *Pool) Conn() grpc.ClientConnInterface { return conn{p} }

type conn struct{ p *Pool }

func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	any, err := c.p.anyConn(ctx)
	if err != nil {
		return err
	}
	return any.Invoke(ctx, method, args, reply, opts...)
}

func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	any, err := c.p.anyConn(ctx)
	if err != nil {
		return nil, err
	}
	return any.NewStream(ctx, desc, method, opts...)
}

// anyConn returns a connection that is up, or else just the next one.
func (p *Pool) anyConn(ctx context.Context) (*grpc.ClientConn, error) {
	for t := p.turn(ctx); ; {
		e, anyway := t.next(ctx)
		if e == nil {
			return nil, p.unreachable(nil)
		}
		if c, ready := e.conn(); c != nil && (anyway || ready && !e.isDown()) {
			return c, nil
		}
	}
}
