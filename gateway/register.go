package gateway

import (
	"context"
	"errors"

	"github.com/crossgate/crossgate/descriptors"
)

// registration is a descriptor set that is to be registered.
type registration struct {
	name   string
	raw    []byte
	force  bool // whatever it breaks
	dryRun bool // change nothing
}

// registrationAttempts is how often a change of the registered sets is checked again because others came between.
const registrationAttempts = 5

// register compiles a set into a whole snapshot first, stores it in Redis then, and serves it before it returns what the
// set broke of the version before. Between check and storing nothing else is stored: what comes between is checked with.
func (g *Gateway) register(ctx context.Context, asked *registration) (*descriptors.Registered, []descriptors.Break, error) {
	ctx, end := g.beginRebuild(ctx)
	defer end()
	for range registrationAttempts {
		candidate, err := g.loader.LoadWith(ctx, asked.name, asked.raw)
		if err != nil {
			return nil, nil, err
		}
		s, err := g.compileSet(ctx, candidate.Set)
		if err != nil {
			return nil, nil, err
		}
		if asked.dryRun {
			s.close()
			return descriptors.Unregistered(asked.name, asked.raw), candidate.Breaks, nil
		}
		if len(candidate.Breaks) > 0 && !asked.force {
			s.close()
			return nil, nil, &incompatibleError{asked.name, candidate.Breaks}
		}
		stored, err := g.registry.Put(ctx, asked.name, asked.raw, candidate.Revision)
		if err == nil {
			g.swap(s)
			return &stored, candidate.Breaks, nil
		}
		s.close()
		if !errors.Is(err, descriptors.ErrChanged) {
			return nil, nil, err
		}
	}
	return nil, nil, descriptors.ErrChanged
}

func (g *Gateway) unregister(ctx context.Context, name string) error {
	ctx, end := g.beginRebuild(ctx)
	defer end()
	for range registrationAttempts {
		candidate, err := g.loader.LoadWithout(ctx, name)
		if err != nil {
			return err
		}
		s, err := g.compileSet(ctx, candidate.Set)
		if err != nil {
			return err
		}
		if err = g.registry.Delete(ctx, name, candidate.Revision); err == nil {
			g.swap(s)
			return nil
		}
		s.close()
		if !errors.Is(err, descriptors.ErrChanged) {
			return err
		}
	}
	return descriptors.ErrChanged
}
