package service

import (
	"bytes"
	"context"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// readChannel reads the service's channel until ctx ends. The bus sees to it that the subscription stands.
func (s *Service) readChannel(ctx context.Context, work chan<- func()) {
	inbox := bus.NewRedis(s.servers, &channel{s, ctx, work})
	defer inbox.Close()
	// Where Redis cannot be reached it is subscribed to later.
	_ = inbox.Subscribe(ctx, s.keys.In(s.name))
	<-ctx.Done()
}

// channel hands what is published to the service's workers. It waits for one: what comes meanwhile is with Redis.
type channel struct {
	service *Service
	ctx     context.Context
	work    chan<- func()
}

// Receive implements bus.Handler.
func (c *channel) Receive(_ string, payload []byte) {
	envelope := bytes.Clone(payload)
	select {
	case c.work <- func() { c.service.handle(context.WithoutCancel(c.ctx), envelope) }:
	case <-c.ctx.Done():
	}
}

// Subscribed implements bus.Handler.
func (c *channel) Subscribed(string) {}

// Denied implements bus.Handler.
func (c *channel) Denied(string) {}

// State implements bus.Handler.
func (c *channel) State(up bool) {
	if !up && c.ctx.Err() == nil {
		c.service.logger.Warn("the bus broke; trying again", "service", c.service.name)
	}
}
