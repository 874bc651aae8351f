package descriptors

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long files must be quiet before they are looked at: editors and deployments write in several steps.
	settle = 100 * time.Millisecond
	// settleAtMost is how long a folder that is never quiet, as one with a log file in it, can put that off.
	settleAtMost = 500 * time.Millisecond
)

// FileWatcher reports changes of files and folders. Create it with WatchFiles.
type FileWatcher struct {
	watcher *fsnotify.Watcher
	paths   []string
	seen    [sha256.Size]byte
	done    sync.WaitGroup
}

// WatchFiles calls changed, from a goroutine of its own, shortly after a file of paths has changed, or any file below a
// folder of paths. It watches the folders that files are in, so that a file which is replaced, or reached through a
// symbolic link that is switched, as Kubernetes does, is noticed too. Their neighbours are not reported.
func WatchFiles(paths []string, changed func()) (*FileWatcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	w := &FileWatcher{watcher: watcher, paths: paths}
	for _, p := range paths {
		if err := w.add(p); err != nil {
			watcher.Close()
			return nil, fmt.Errorf("watch %s: %w", p, err)
		}
	}
	w.seen = w.look()
	w.done.Go(func() { w.run(changed) })
	return w, nil
}

// add watches the folder that path is in, the one it really is in when a symbolic link leads there, and, when path is a
// folder, all below it. To watch a folder again does no harm.
func (w *FileWatcher) add(path string) error {
	if err := w.watcher.Add(filepath.Dir(path)); err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil && target != path {
		path = target
		if err := w.watcher.Add(filepath.Dir(path)); err != nil {
			return err
		}
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return nil // a file that is not there may come
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil || !d.IsDir() {
			return err
		}
		return w.watcher.Add(p)
	})
}

// look digests what can be seen of the watched files without reading them.
func (w *FileWatcher) look() [sha256.Size]byte {
	h := sha256.New()
	for _, path := range w.paths {
		root, err := filepath.EvalSymlinks(path)
		if err != nil {
			fmt.Fprintf(h, "%q is not there\n", path)
			continue
		}
		// What cannot be read counts as not there.
		_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // see above
			}
			if info, err := os.Stat(p); err == nil {
				fmt.Fprintf(h, "%q %d %d\n", p, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (w *FileWatcher) run(changed func()) {
	quiet := time.NewTimer(settle)
	quiet.Stop()
	defer quiet.Stop()
	var since time.Time // the first event since the files were looked at
	event := func() {
		if since.IsZero() {
			since = time.Now()
		}
		quiet.Reset(max(0, min(settle, time.Until(since.Add(settleAtMost)))))
	}
	for {
		select {
		case e, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if e.Op != fsnotify.Chmod {
				event()
			}
		case <-quiet.C:
			since = time.Time{}
			for _, p := range w.paths {
				// Folders may be new, and links lead elsewhere. What cannot be watched is seen at the next event all the same.
				_ = w.add(p)
			}
			if now := w.look(); now != w.seen {
				w.seen = now
				changed()
			}
		case _, ok := <-w.watcher.Errors:
			if !ok {
				return
			}
			// An overflow lost events: what they said is not known, so look.
			event()
		}
	}
}

// Close stops watching and waits until no call of changed runs.
func (w *FileWatcher) Close() {
	w.watcher.Close()
	w.done.Wait()
}
