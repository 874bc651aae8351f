package cache

import "sync"

// flight is a fetch that others wait for.
type flight struct {
	key  string
	done chan struct{} // closed once it is known what came
	over bool          // it is
	got  *entry        // nil: it is not shared
	lost bool          // its client is gone, or the backend broke off: another may lead
}

// flights are the fetches that are under way, one for a key.
type flights struct {
	mu    sync.Mutex
	under map[string]*flight
}

// join returns the flight for a key. Who leads it must land it.
func (fs *flights) join(key []byte) (f *flight, lead bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.under[string(key)]; f != nil {
		return f, false
	}
	f = &flight{key: string(key), done: make(chan struct{})}
	fs.under[f.key] = f
	return f, true
}

// land tells those who wait what came. Only the first time counts; f may be nil.
func (fs *flights) land(f *flight, got *entry, lost bool) {
	if f == nil {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.over {
		return
	}
	f.over, f.got, f.lost = true, got, lost
	delete(fs.under, f.key)
	close(f.done)
}
