package wsbridge

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// control obeys a command that every node gets. It is called by the goroutine that reads from the bus, and waits for
// nothing.
func (n *Node) control(command []byte) {
	c, err := bus.ParseControl(command)
	if err != nil {
		n.metrics.BusDropped("malformed")
		return
	}
	switch c.Type {
	case bus.Revoke:
		n.revoked(c)
	default:
		n.metrics.BusDropped("malformed")
	}
}

// command tells every node, this one among them, and returns how many there are.
func (n *Node) command(ctx context.Context, c *bus.Control) (int64, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return 0, fmt.Errorf("wsbridge: %w", err)
	}
	return n.bus.Publish(ctx, n.keys.Control(), text)
}
