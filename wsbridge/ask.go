package wsbridge

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// asking is how long the nodes have to answer.
const asking = 2 * time.Second

// questions are those of this node that wait for answers of nodes.
type questions struct {
	mu      sync.Mutex
	answers map[string]chan *bus.Control // by query
}

// ask has every node that listens to a channel obey a command and returns their answers: of all of them, or, once enough is
// true of one, up to that one. Missing is how many nodes have not answered in time.
func (n *Node) ask(ctx context.Context, channel string, c bus.Control, enough func(*bus.Control) bool) (answers []*bus.Control, missing int, err error) {
	if !n.up.Load() {
		return nil, 0, bus.ErrDown // answers would not arrive
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	c.Query, c.ReplyTo = uuid.NewString(), n.keys.Peer(n.name)
	got := make(chan *bus.Control, 16)
	n.questions.mu.Lock()
	if n.questions.answers == nil {
		n.questions.answers = map[string]chan *bus.Control{}
	}
	n.questions.answers[c.Query] = got
	n.questions.mu.Unlock()
	defer func() {
		n.questions.mu.Lock()
		delete(n.questions.answers, c.Query)
		n.questions.mu.Unlock()
	}()
	nodes, err := n.tell(ctx, channel, &c)
	if err != nil {
		return nil, 0, err
	}
	for int64(len(answers)) < nodes {
		select {
		case a := <-got:
			answers = append(answers, a)
			if enough != nil && enough(a) {
				return answers, 0, nil
			}
		case <-ctx.Done():
			return answers, int(nodes) - len(answers), nil
		case <-n.ctx.Done():
			return nil, 0, bus.ErrDown
		}
	}
	return answers, 0, nil
}

// answered hands an answer to who waits for it.
func (n *Node) answered(c *bus.Control) {
	n.questions.mu.Lock()
	got := n.questions.answers[c.Query]
	n.questions.mu.Unlock()
	if got == nil {
		return // it came too late
	}
	n.spawnOpen(func() {
		select {
		case got <- c:
		case <-time.After(asking):
		}
	})
}

// answer says to who asked what came of a command.
func (n *Node) answer(to *bus.Control, a bus.Control) {
	if to.Query == "" || to.ReplyTo == "" {
		return
	}
	a.Type, a.Query, a.Node = bus.Answer, to.Query, n.name
	_, _ = n.tell(n.ctx, to.ReplyTo, &a)
}
