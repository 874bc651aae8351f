// Package service is a microservice's end of the bridge: it gets what WebSocket clients send, and answers one
// connection, a user, a channel or everyone.
//
//	s := service.New(client, "chat")
//	s.Handle("chat.send", func(ctx context.Context, m *service.Message) (any, error) {
//		return map[string]bool{"ok": true}, s.SendChannel(ctx, "room:1", m.Data)
//	})
//	err := s.Run(ctx)
//
// It is a convenience: an ordinary Redis client and docs/websocket.md do as well.
package service
