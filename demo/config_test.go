package demo

import (
	"bytes"
	"testing"
)

func TestConfigIsValidAndHoldsThePage(t *testing.T) {
	for _, accessLog := range []bool{false, true} {
		cfg, err := Config(Addresses{Listen: "127.0.0.1:0", Admin: "[::1]:0"}, "127.0.0.1:50051", accessLog)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Redis != nil {
			t.Error("crossgate dev would need a Redis")
		}
		if got := cfg.Log.Access == "all"; got != accessLog {
			t.Errorf("access log %q, want it on: %v", cfg.Log.Access, accessLog)
		}
		if cfg.Listeners[0].Address != "127.0.0.1:0" || cfg.Admin.Address != "[::1]:0" || cfg.Upstreams[0].Endpoints[0] != "127.0.0.1:50051" {
			t.Errorf("addresses are %+v, %+v, %+v", cfg.Listeners, cfg.Admin, cfg.Upstreams)
		}
		served := false
		for _, r := range cfg.Routes {
			served = served || r.Respond != nil && bytes.Equal([]byte(r.Respond.Body), Page())
		}
		if !served {
			t.Error("no route answers with the page")
		}
	}
}

func TestAWrongAddressIsRefused(t *testing.T) {
	if _, err := Config(Addresses{Listen: "nowhere", Admin: "127.0.0.1:0"}, "127.0.0.1:1", false); err == nil {
		t.Error("the address nowhere is accepted")
	}
}
