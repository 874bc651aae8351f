package discovery

import (
	"context"

	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/descriptors"
)

// File is a file of endpoints that something else writes.
type File struct{ Path string }

// Run reads the file, and again when it has changed. It looks besides every so often: a folder that is made anew, or a
// network's file system, tells of no change.
func (f *File) Run(ctx context.Context, to *Listener) {
	changed := make(chan struct{}, 1)
	w, err := descriptors.WatchFiles([]string{f.Path}, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	if err == nil {
		defer w.Close()
	}
	for {
		f.read(to)
		if !wait(ctx, lookAgain, changed) {
			return
		}
	}
}

func (f *File) read(to *Listener) {
	list, err := config.LoadEndpoints(f.Path)
	found := make([]Endpoint, len(list))
	for i, e := range list {
		found[i] = Endpoint{Address: e.Address, Weight: e.Weight, Zone: e.Zone}
	}
	to.learn(found, err)
}
