package wsbridge

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// control obeys a command. It is called by the goroutine that reads from the bus, and waits for nothing.
func (n *Node) control(text []byte) {
	c, err := bus.ParseControl(text)
	if err != nil {
		n.metrics.BusDropped("malformed")
		return
	}
	switch c.Type {
	case bus.Revoke:
		n.revoked(c)
	case bus.Close:
		n.spawnOpen(func() { n.answer(c, bus.Control{Count: n.closeConnections(c)}) })
	case bus.Send:
		n.spawnOpen(func() { n.answer(c, bus.Control{Count: n.sendTo(c)}) })
	case bus.List:
		n.spawnOpen(func() { n.answer(c, bus.Control{Connections: n.describe(c)}) })
	case bus.Post:
		n.spawnOpen(func() { n.answer(c, n.handed(c)) })
	case bus.Answer:
		n.answered(c)
	default:
		n.metrics.BusDropped("malformed")
	}
}

// command tells every node, this one among them, and returns how many there are.
func (n *Node) command(ctx context.Context, c *bus.Control) (int64, error) {
	return n.tell(ctx, n.keys.Control(), c)
}

func (n *Node) tell(ctx context.Context, channel string, c *bus.Control) (int64, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return 0, fmt.Errorf("wsbridge: %w", err)
	}
	return n.bus.Publish(ctx, channel, text)
}
