package pace

import (
	"runtime/debug"
	"sync"
)

// roomy is how much the heap may grow while paced work goes on, in percent of what is live, as for GOGC. Work that replaces
// most of what is live makes more garbage than GOGC's default of 100 allows. A collection in its midst marks the old, the new and
// what is half done; one after it half as much. GOMEMLIMIT holds all the same.
const roomy = 400

// collection is deferred by any number of works, and set back by the last of them.
var collection struct {
	mu      sync.Mutex
	works   int
	percent int // as it was before
}

func deferCollection() {
	collection.mu.Lock()
	defer collection.mu.Unlock()
	collection.works++
	if collection.works > 1 {
		return
	}
	collection.percent = debug.SetGCPercent(roomy)
	if collection.percent < 0 || collection.percent > roomy {
		debug.SetGCPercent(collection.percent)
	}
}

func resumeCollection() {
	collection.mu.Lock()
	defer collection.mu.Unlock()
	collection.works--
	if collection.works == 0 {
		debug.SetGCPercent(collection.percent)
	}
}
