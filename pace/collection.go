package pace

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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
	if collection.works > 0 {
		return
	}
	// With a heap that is above its goal already, whoever allocates would have to help until the collection is over.
	if overdue(collection.percent) {
		runtime.GC()
	}
	debug.SetGCPercent(collection.percent)
}

// overdue reports whether the heap has grown by more than percent since it was collected last.
func overdue(percent int) bool {
	if percent < 0 {
		return false
	}
	size := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(size)
	live, now := size[0].Value.Uint64(), size[1].Value.Uint64()
	return now > live+live/100*uint64(percent)
}
