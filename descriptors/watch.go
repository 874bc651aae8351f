package descriptors

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files must be quiet before a change is reported: editors and deployments write in several steps.
const settle = 100 * time.Millisecond

// FileWatcher reports changes of files and folders. Create it with WatchFiles.
type FileWatcher struct {
	watcher *fsnotify.Watcher
	done    sync.WaitGroup
}

// WatchFiles calls changed, from a goroutine of its own, shortly after a file of paths has changed, or any file below a
// folder of paths. It watches the folders that files are in, so that a file which is replaced, or reached through a
// symbolic link that is switched, as Kubernetes does, is noticed too.
func WatchFiles(paths []string, changed func()) (*FileWatcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	w := &FileWatcher{watcher: watcher}
	for _, p := range paths {
		if err := w.add(p); err != nil {
			watcher.Close()
			return nil, fmt.Errorf("watch %s: %w", p, err)
		}
	}
	w.done.Go(func() { w.run(changed) })
	return w, nil
}

func (w *FileWatcher) add(path string) error {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return w.watcher.Add(filepath.Dir(path))
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return w.watcher.Add(p)
	})
}

func (w *FileWatcher) run(changed func()) {
	quiet := time.NewTimer(settle)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case e, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if e.Op == fsnotify.Chmod {
				continue
			}
			if e.Has(fsnotify.Create) {
				if info, err := os.Stat(e.Name); err == nil && info.IsDir() {
					// A folder that cannot be watched is read at the next change all the same.
					_ = w.add(e.Name)
				}
			}
			quiet.Reset(settle)
		case <-quiet.C:
			changed()
		case _, ok := <-w.watcher.Errors:
			if !ok {
				return
			}
			// An overflow lost events: what they said is not known, so assume a change.
			quiet.Reset(settle)
		}
	}
}

// Close stops watching and waits until no call of changed runs.
func (w *FileWatcher) Close() {
	w.watcher.Close()
	w.done.Wait()
}
