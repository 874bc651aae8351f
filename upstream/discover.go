package upstream

import (
	"log/slog"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/telemetry"
	"github.com/crossgate/crossgate/upstream/internal/discovery"
)

// source returns where the endpoints of an upstream are learnt, nil where they are listed.
func source(cfg *config.Upstream, o *Options) discovery.Source {
	d := cfg.Discovery
	switch {
	case d == nil:
	case d.DNS != nil:
		return &discovery.DNS{
			Name: d.DNS.Name, Service: d.DNS.Type == "srv", Port: d.DNS.Port, Interval: d.DNS.Interval.Std(), Server: d.DNS.Server,
		}
	case d.File != nil:
		return &discovery.File{Path: string(d.File.Path)}
	case d.Redis != nil && o.Redis != nil:
		return &discovery.Redis{Client: o.Redis, Prefix: o.Prefix, Service: d.Redis.Service, Interval: d.Redis.Interval.Std()}
	}
	return nil
}

// discover follows a source until the pool is closed.
func (p *Pool) discover(s discovery.Source) {
	if s == nil {
		return
	}
	failures := p.telemetry.Source(telemetry.Discovery, p.name)
	p.background.Go(func() { // ends with p.running
		defer failures.Close()
		s.Run(p.running, &discovery.Listener{
			Found: func(list []discovery.Endpoint) {
				if err := p.update(list); err != nil {
					p.log(slog.LevelWarn, "endpoints of an upstream cannot be used", "error", err)
					return
				}
				p.log(slog.LevelInfo, "endpoints of an upstream have changed", "endpoints", len(list))
			},
			Failed: func(err error) {
				if err == nil {
					p.log(slog.LevelInfo, "endpoints of an upstream are learnt again")
					return
				}
				failures.Failed(err) // the last known endpoints stay
			},
		})
	})
}

// log says what happens to a pool.
func (p *Pool) log(level slog.Level, what string, args ...any) {
	if p.telemetry != nil {
		p.telemetry.Logger.Log(p.running, level, what, append([]any{"upstream", p.name}, args...)...)
	}
}
