package descriptors

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/crossgate/crossgate/config"
)

// Loader reads the descriptor sources of one configuration. It is safe for concurrent use; loads wait for each other.
// Watch may be called before the first Load, so that no change between the two is missed.
type Loader struct {
	config   *config.Config
	backends func(upstream string) Backend
	registry *Registry
	notify   func()
	rules    *ruleSet

	loading sync.Mutex // held by the one load that runs
	last    *Set       // what it returned

	mu         sync.Mutex
	cache      map[[sha256.Size]byte]*source // compiled files and registered sets, by digest of name and content
	trees      map[string]*builtTree
	reflected  map[string]*source // by upstream
	reflectErr map[string]error
	registered []Registered
	compiled   map[string]*source // the registered sets as they last compiled, by name

	stop context.CancelFunc
	done sync.WaitGroup
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
		cache: map[[sha256.Size]byte]*source{}, trees: map[string]*builtTree{}, reflected: map[string]*source{}, reflectErr: map[string]error{},
		compiled: map[string]*source{},
	}
	if prev != nil {
		if rules.empty() && prev.rules.empty() {
			l.rules = prev.rules
		}
		prev.loading.Lock()
		defer prev.loading.Unlock()
		l.last = prev.last
		prev.mu.Lock()
		defer prev.mu.Unlock()
		l.registered = prev.registered
		maps.Copy(l.cache, prev.cache)
		maps.Copy(l.trees, prev.trees)
		maps.Copy(l.reflected, prev.reflected)
		maps.Copy(l.compiled, prev.compiled)
	}
	return l, nil
}

// Load reads every source and returns the set they make: the same one as before where no source has changed. A backend or a Redis that does not answer, or answers what does
// not compile, leaves what was last heard of it, and an entry in Pending; a file that is missing or broken is an error,
// and so is a service that two sources have. Errors are config.Errors.
func (l *Loader) Load(ctx context.Context) (*Set, error) {
	registered, _, err := l.listRegistered(ctx)
	var pending []string
	if err != nil {
		pending = append(pending, fmt.Sprintf("registered sets: %v", err))
	}
	return l.load(ctx, registered, pending, "")
}

// Candidate is what Load would return after a change of the registered sets.
type Candidate struct {
	*Set
	// Revision is what the change was checked against.
	Revision Revision
	// Breaks is what the version in force has and the new one has not.
	Breaks []Break
}

// LoadWith is Load as it would be with a set registered under name: what an admin call is checked against before it
// changes anything.
func (l *Loader) LoadWith(ctx context.Context, name string, raw []byte) (*Candidate, error) {
	registered, revision, err := l.listRegistered(ctx)
	if err != nil {
		return nil, err
	}
	list := []Registered{{Name: name, Raw: raw}}
	var replaced *Registered
	for i := range registered {
		if r := &registered[i]; r.Name == name {
			replaced = r
		} else {
			list = append(list, *r)
		}
	}
	slices.SortFunc(list, func(a, b Registered) int { return cmp.Compare(a.Name, b.Name) }) // as they are listed later
	set, err := l.load(ctx, list, nil, name)
	if err != nil {
		return nil, err
	}
	c := &Candidate{Set: set, Revision: revision}
	if replaced != nil {
		c.Breaks, err = l.breaks(ctx, *replaced, raw)
	}
	return c, err
}

// breaks compares a registered set, as it is in force, with its next version, which compiles.
func (l *Loader) breaks(ctx context.Context, old Registered, raw []byte) ([]Break, error) {
	used := map[[sha256.Size]byte]*source{}
	before, _ := l.compileRegistered(ctx, old, used)
	if before == nil {
		return nil, nil // it never compiled, so nobody calls it
	}
	after, err := l.compileRegistered(ctx, Registered{Name: old.Name, Raw: raw}, used)
	if err != nil {
		return nil, err
	}
	return compare(ctx, before, after, l.rules)
}

// LoadWithout is Load as it would be without the set registered under name.
func (l *Loader) LoadWithout(ctx context.Context, name string) (*Candidate, error) {
	registered, revision, err := l.listRegistered(ctx)
	if err != nil {
		return nil, err
	}
	var rest []Registered
	for _, r := range registered {
		if r.Name != name {
			rest = append(rest, r)
		}
	}
	set, err := l.load(ctx, rest, nil, "")
	if err != nil {
		return nil, err
	}
	return &Candidate{Set: set, Revision: revision}, nil
}

// listRegistered returns what is registered; with an error, what was when Redis last answered.
func (l *Loader) listRegistered(ctx context.Context) ([]Registered, Revision, error) {
	if l.registry == nil {
		return nil, 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	list, revision, err := l.registry.List(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return l.registered, 0, err
	}
	l.registered = list
	return list, revision, nil
}

// load compiles what is not compiled yet. The registered set called candidate is refused when it is broken.
func (l *Loader) load(ctx context.Context, registered []Registered, pending []string, candidate string) (*Set, error) {
	l.loading.Lock()
	defer l.loading.Unlock()
	l.askUnheard(ctx)
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
			if raw, err = readBounded(string(d.File), MaxSetSize); err == nil {
				src, err = l.compileCached(name, raw, used)
			} else {
				err = fmt.Errorf("descriptors: %w", err)
			}
		case d.Protos != nil:
			src, err = l.loadTree(ctx, name, d.Protos)
		case d.Reflection != nil:
			l.mu.Lock()
			src = l.reflected[d.Reflection.Upstream]
			if failed := l.reflectErr[d.Reflection.Upstream]; failed != nil {
				pending = append(pending, failed.Error())
			}
			l.mu.Unlock()
		}
		if err != nil {
			errs.Add(d.Pos, err)
		}
		if src != nil {
			sources = append(sources, src)
		}
	}
	for _, r := range registered {
		src, err := l.compileRegistered(ctx, r, used)
		if err != nil && r.Name == candidate {
			errs.Add(config.Position{}, err)
			continue
		}
		if err != nil {
			pending = append(pending, err.Error())
		}
		if src != nil {
			sources = append(sources, src)
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	set := l.last
	if set == nil || set.rules != l.rules || !slices.Equal(set.sources, sources) {
		var err error
		if set, err = newSet(ctx, sources, l.rules); err != nil {
			return nil, err
		}
	}
	l.last = set.with(pending)
	l.remember(used, candidate)
	return l.last, nil
}

// compileRegistered compiles a registered set and checks its annotations. With an error it returns the set as it last
// compiled, nil when it never did: Redis is shared with nodes of other versions, and what one of them put there is no
// reason to stop serving or not to start.
func (l *Loader) compileRegistered(ctx context.Context, r Registered, used map[[sha256.Size]byte]*source) (*source, error) {
	src, err := l.compileCached("registered set "+r.Name, r.Raw, used)
	if err == nil {
		err = src.check(ctx, l.rules)
	}
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.compiled[r.Name], err
	}
	return src, nil
}

// remember keeps what a load compiled. A candidate that is not registered yet adds to that and takes nothing away.
func (l *Loader) remember(used map[[sha256.Size]byte]*source, candidate string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if candidate != "" {
		maps.Copy(l.cache, used)
		return
	}
	l.cache = used
	before := l.compiled
	l.compiled = make(map[string]*source, len(l.registered))
	for _, r := range l.registered {
		if src := used[cacheKey("registered set "+r.Name, r.Raw)]; src != nil {
			l.compiled[r.Name] = src
		} else if src := before[r.Name]; src != nil {
			l.compiled[r.Name] = src
		}
	}
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
	key := cacheKey(name, raw)
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

func cacheKey(name string, raw []byte) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s ", len(name), name)
	h.Write(raw)
	return [sha256.Size]byte(h.Sum(nil))
}

func (l *Loader) loadTree(ctx context.Context, name string, tree *config.ProtoTree) (*source, error) {
	l.mu.Lock()
	built := l.trees[name]
	l.mu.Unlock()
	if built != nil && built.current(tree) {
		return built.source, nil
	}
	built, err := compileTree(ctx, name, tree)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.trees[name] = built
	l.mu.Unlock()
	return built.source, nil
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

// Close stops watching and waits until nothing of it runs.
func (l *Loader) Close() {
	if l.stop != nil {
		l.stop()
		l.done.Wait()
	}
}
