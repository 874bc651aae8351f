package auth

import (
	"sync"

	"github.com/crossgate/crossgate/descriptors"
)

// watchFile loads a file, and loads it again whenever it has changed, never twice at a time. What is wrong with it now is
// returned; what is wrong with it later refused is told, and what was loaded before stays in force.
func watchFile(path string, load func() error, refused func(error)) (*descriptors.FileWatcher, error) {
	var loading sync.Mutex
	once := func() error {
		loading.Lock()
		defer loading.Unlock()
		return load()
	}
	// Watched before it is read, so that no change falls between.
	w, err := descriptors.WatchFiles([]string{path}, func() {
		if err := once(); err != nil {
			refused(err)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := once(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}
