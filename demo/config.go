package demo

import (
	_ "embed" // the configuration's text
	"strings"

	"github.com/crossgate/crossgate/config"
)

// Addresses are where `crossgate dev` listens.
type Addresses struct {
	// Listen is for clients, Admin for the admin listener: host:port, port 0 for a free one.
	Listen, Admin string
}

//go:embed dev.yaml
var devConfig string

// Config returns the configuration of `crossgate dev`: the shop that serves at shopAddress as REST and gRPC, the chat
// page at /chat, and its WebSocket at /ws. Redis is the embedded one.
func Config(a Addresses, shopAddress string, accessLog bool) (*config.Config, error) {
	access := "off"
	if accessLog {
		access = "all"
	}
	text := strings.NewReplacer("@listen@", a.Listen, "@admin@", a.Admin, "@shop@", shopAddress, "@access@", access).Replace(devConfig)
	cfg, err := config.Parse("dev.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	for i := range cfg.Routes {
		if cfg.Routes[i].Name == pageRoute {
			cfg.Routes[i].Respond.Body = string(Page())
		}
	}
	return cfg, nil
}

// pageRoute is the route in dev.yaml that answers with the page.
const pageRoute = "chat-page"
