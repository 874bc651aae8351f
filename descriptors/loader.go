package descriptors

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/crossgate/crossgate/config"
)

const (
	// reflectTimeout bounds one conversation with a backend.
	reflectTimeout = 10 * time.Second
	// firstReflection is how long the first load waits for a backend; later it is asked in the background.
	firstReflection = 3 * time.Second
)

// Backend is a pool of backends that reflection can ask. *upstream.Pool is one.
type Backend interface {
	Conn() grpc.ClientConnInterface
	// Watch calls ready whenever a connection to a backend has come up, until ctx ends.
	Watch(ctx context.Context, ready func())
}

// Loader reads the descriptor sources of one configuration. Load may be called by one goroutine at a time.
type Loader struct {
	config   *config.Config
	backends func(upstream string) Backend
	registry *Registry
	notify   func()
	rules    *ruleSet

	mu         sync.Mutex
	cache      map[[sha256.Size]byte]*source // compiled files and registered sets, by digest of name and content
	trees      map[string]builtTree
	reflected  map[string]*source // by upstream
	reflectErr map[string]error
	registered []Registered
	heard      bool // the registry answered at least once

	stop context.CancelFunc
	done sync.WaitGroup
}

type builtTree struct {
	digest [sha256.Size]byte
	*source
}

// NewLoader returns a loader for the sources of cfg. backends finds a pool by upstream name, registry may be nil, and
// notify is called, from any goroutine, when a source has changed and Load is worth calling. What prev, which may be
// nil, knows of a source that is still there is kept. Errors are config.Errors.
func NewLoader(cfg *config.Config, backends func(upstream string) Backend, registry *Registry, prev *Loader, notify func()) (*Loader, error) {
	rules, err := loadRules(&cfg.HTTP)
	if err != nil {
		return nil, err
	}
	l := &Loader{
		config: cfg, backends: backends, registry: registry, notify: notify, rules: rules,
		cache: map[[sha256.Size]byte]*source{}, trees: map[string]builtTree{}, reflected: map[string]*source{}, reflectErr: map[string]error{},
	}
	if prev != nil {
		prev.mu.Lock()
		defer prev.mu.Unlock()
		l.registered, l.heard = prev.registered, prev.heard
		for k, v := range prev.cache {
			l.cache[k] = v
		}
		for k, v := range prev.trees {
			l.trees[k] = v
		}
		for k, v := range prev.reflected {
			l.reflected[k] = v
		}
	}
	return l, nil
}

// Load reads every source and returns the set they make. A backend or a Redis that does not answer leaves what was
// last heard of it, and an entry in Pending; a file that is missing or broken is an error. Errors are config.Errors.
func (l *Loader) Load(ctx context.Context) (*Set, error) {
	registered, pending := l.listRegistered(ctx)
	return l.load(ctx, registered, pending)
}

// LoadWith is Load as it would be with a set registered under name: what an admin call is checked against before it
// changes anything.
func (l *Loader) LoadWith(ctx context.Context, name string, raw []byte) (*Set, error) {
	registered, pending := l.listRegistered(ctx)
	candidate := []Registered{{Name: name, Raw: raw}}
	for _, r := range registered {
		if r.Name != name {
			candidate = append(candidate, r)
		}
	}
	return l.load(ctx, candidate, pending)
}

// LoadWithout is Load as it would be without the set registered under name.
func (l *Loader) LoadWithout(ctx context.Context, name string) (*Set, error) {
	registered, pending := l.listRegistered(ctx)
	var candidate []Registered
	for _, r := range registered {
		if r.Name != name {
			candidate = append(candidate, r)
		}
	}
	return l.load(ctx, candidate, pending)
}

func (l *Loader) listRegistered(ctx context.Context) ([]Registered, []string) {
	if l.registry == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	list, err := l.registry.List(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return l.registered, []string{fmt.Sprintf("registered sets: %v", err)}
	}
	l.registered, l.heard = list, true
	return list, nil
}

func (l *Loader) load(ctx context.Context, registered []Registered, pending []string) (*Set, error) {
	var sources []*source
	var errs config.Errors
	used := map[[sha256.Size]byte]*source{}
	for i := range l.config.Descriptors {
		d := &l.config.Descriptors[i]
		name := sourceName(d)
		var src *source
		var err error
		switch {
		case d.File != "":
			var raw []byte
			if raw, err = os.ReadFile(string(d.File)); err == nil {
				src, err = l.compileCached(name, raw, used)
			}
		case d.Protos != nil:
			src, err = l.loadTree(ctx, name, d.Protos)
		case d.Reflection != nil:
			if src, err = l.loadReflected(ctx, name, d.Reflection.Upstream); err != nil {
				pending = append(pending, err.Error())
				err = nil
			}
		}
		if err != nil {
			errs.Add(d.Pos, err)
		}
		if src != nil {
			sources = append(sources, src)
		}
	}
	for _, r := range registered {
		src, err := l.compileCached("registered set "+r.Name, r.Raw, used)
		if err != nil {
			errs.Add(config.Position{}, err)
			continue
		}
		sources = append(sources, src)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.cache = used // what is no longer used is forgotten
	l.mu.Unlock()
	set, err := newSet(sources, l.rules)
	if err != nil {
		return nil, err
	}
	set.Pending = pending
	return set, nil
}

func sourceName(d *config.DescriptorSource) string {
	switch {
	case d.Name != "":
		return d.Name
	case d.File != "":
		return string(d.File)
	case d.Protos != nil:
		return string(d.Protos.Root)
	}
	return "reflection on " + d.Reflection.Upstream
}

// compileCached compiles bytes, or returns what the same bytes were compiled to before.
func (l *Loader) compileCached(name string, raw []byte, used map[[sha256.Size]byte]*source) (*source, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s ", len(name), name)
	h.Write(raw)
	key := [sha256.Size]byte(h.Sum(nil))
	l.mu.Lock()
	src := l.cache[key]
	l.mu.Unlock()
	if src == nil {
		var err error
		if src, err = compileSet(name, raw); err != nil {
			return nil, err
		}
	}
	used[key] = src
	return src, nil
}

func (l *Loader) loadTree(ctx context.Context, name string, tree *config.ProtoTree) (*source, error) {
	digest, err := treeDigest(tree)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %s: %w", name, err)
	}
	if built, ok := l.trees[name]; ok && built.digest == digest {
		return built.source, nil
	}
	src, err := compileTree(ctx, name, tree)
	if err != nil {
		return nil, err
	}
	l.trees[name] = builtTree{digest, src}
	return src, nil
}

// loadReflected returns what the backend last said. Only when nothing has been heard of it is it asked here, and not
// for long.
func (l *Loader) loadReflected(ctx context.Context, name, upstream string) (*source, error) {
	l.mu.Lock()
	src, failed := l.reflected[upstream], l.reflectErr[upstream]
	l.mu.Unlock()
	if src != nil || failed != nil {
		return src, failed
	}
	ctx, cancel := context.WithTimeout(ctx, firstReflection)
	defer cancel()
	_, err := l.reflect(ctx, name, upstream)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reflected[upstream], err
}

// reflect asks the backend and keeps the answer. It reports whether anything changed.
func (l *Loader) reflect(ctx context.Context, name, upstream string) (bool, error) {
	backend := l.backends(upstream)
	if backend == nil {
		return false, fmt.Errorf("descriptors: %s: there is no upstream %s", name, upstream)
	}
	src, err := reflectSet(ctx, name, backend.Conn())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reflectErr[upstream] = err
	if err != nil {
		return false, err
	}
	old := l.reflected[upstream]
	if old != nil && old.digest == src.digest {
		return false, nil
	}
	l.reflected[upstream] = src
	return true, nil
}

// Watch starts watching the sources, until Close.
func (l *Loader) Watch() error {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	var files []string
	for i := range l.config.Descriptors {
		d := &l.config.Descriptors[i]
		switch {
		case d.File != "":
			files = append(files, string(d.File))
		case d.Protos != nil:
			files = append(files, string(d.Protos.Root))
		case d.Reflection != nil:
			l.done.Go(func() { l.watchReflection(ctx, d) })
		}
	}
	for _, f := range l.config.HTTP.Files {
		files = append(files, string(f))
	}
	if l.registry != nil {
		l.done.Go(func() { l.registry.Watch(ctx, l.notify) })
	}
	if len(files) == 0 {
		return nil
	}
	w, err := WatchFiles(files, l.notify)
	if err != nil {
		return err
	}
	l.done.Go(func() {
		<-ctx.Done()
		w.Close()
	})
	return nil
}

// watchReflection asks the backend whenever a connection to it comes up, and every interval.
func (l *Loader) watchReflection(ctx context.Context, d *config.DescriptorSource) {
	backend := l.backends(d.Reflection.Upstream)
	if backend == nil {
		return
	}
	up := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		backend.Watch(ctx, func() {
			select {
			case up <- struct{}{}:
			default:
			}
		})
	})
	var tick <-chan time.Time
	if every := d.Reflection.Interval.Std(); every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-up:
		case <-tick:
		}
		asking, cancel := context.WithTimeout(ctx, reflectTimeout)
		changed, err := l.reflect(asking, sourceName(d), d.Reflection.Upstream)
		cancel()
		if changed || err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			l.notify()
		}
	}
}

// Close stops watching and waits until nothing of it runs.
func (l *Loader) Close() {
	if l.stop != nil {
		l.stop()
		l.done.Wait()
	}
}
