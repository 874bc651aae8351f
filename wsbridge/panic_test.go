package wsbridge_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/integration/redistest"
	"github.com/crossgate/crossgate/wsbridge/bus"
	"github.com/crossgate/crossgate/wsbridge/service"
)

func TestAPanicOverAMessageEndsItsSessionAndNoOther(t *testing.T) {
	g, rdb := start(t, `channels: [{pattern: asked, subscribe: service}]`)
	serve(t, rdb, func(s *service.Service) {
		s.Authorize(func(context.Context, *service.Message) error {
			return &bus.ReplyError{Code: "permission_denied", Message: "no"}
		})
	})
	other := g.dial(t, nil)
	other.roundTrip()
	g.panics.Store(true)
	for name, channel := range map[string]string{"over a frame": "nobody's", "over the service's answer": "asked"} {
		t.Run(name, func(t *testing.T) {
			c := g.dial(t, nil)
			c.send(`{"id":1,"type":"subscribe","channel":"` + channel + `"}`)
			c.wantClose(websocket.StatusInternalError)
		})
	}
	t.Run("over a POST that came to another node", func(t *testing.T) {
		c := g.events(t, "")
		second := startNode(t, rdb, `max_message_size: 64KiB`)
		if status := c.post(second, `{"id":1,"type":"subscribe","channel":"nobody's"}`); status != http.StatusInternalServerError {
			t.Errorf("the POST gets %d", status)
		}
	})
	g.panics.Store(false)
	other.roundTrip()
	redistest.Eventually(t, "the sessions are gone", func() bool { return g.of("closed 1011") == 2 })
}
