package codec

import (
	"flag"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var printTable = flag.Bool("table", false, "print the table of BENCHMARKS.md and check what is required of it")

// required is what must hold of each direction, as ratios to protojson with generated types.
var required = []struct {
	direction string
	mean      float64 // the geometric mean over all rows
	least     float64 // each row
}{
	{"wire → JSON", 12, 4},
	{"JSON → wire", 8, 4},
}

// aheadOfSonic are the rows on which the codec must be.
var aheadOfSonic = []string{"2 KB nested", "list of 100"}

// measured is one subject on one row.
type measured struct {
	subject string
	nanos   float64 // of the processor, for one operation
	allocs  float64
	slower  float64 // how many times as long as the codec it takes
}

// TestBenchmarkTable measures all rows in one run: make bench-codec. It counts the time of the processor and not that of the wall, all
// threads together: what the garbage collector does for a subject is the subject's, and what other processes do is not.
// The subjects of a row take turns; ratios are within a turn, and of all turns the median counts.
func TestBenchmarkTable(t *testing.T) {
	if !*printTable {
		t.Skip("measures only with -table")
	}
	var all strings.Builder
	for direction, want := range required {
		fmt.Printf("\n| %s | bytes of JSON | MB/s | ns/op | allocs/op | protojson, generated | protojson, dynamicpb | encoding/json | sonic |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n", want.direction)
		fmt.Fprintf(&all, "\n| %s | | MB/s | ns/op | allocs/op |\n|---|---|--:|--:|--:|\n", want.direction)
		mean, least := 0.0, math.Inf(1)
		for _, r := range rows() {
			toJSON, toWire, text, _ := r.subjects(t)
			results := measureAll(t, [][]subject{toJSON, toWire}[direction])
			us := results[0]
			size := float64(len(text))
			fmt.Printf("| %s | %d | %.0f | %.0f | %.0f |", r.name, len(text), size/us.nanos*1e3, us.nanos, us.allocs)
			for _, m := range results[1:] {
				fmt.Printf(" %.1f× |", m.slower)
			}
			fmt.Println()
			for i, m := range results {
				name := ""
				if i == 0 {
					name = r.name
				}
				fmt.Fprintf(&all, "| %s | %s | %.0f | %.0f | %.0f |\n", name, m.subject, size/m.nanos*1e3, m.nanos, m.allocs)
			}
			mean += math.Log(results[1].slower)
			least = min(least, results[1].slower)
			if us.allocs > 0 {
				t.Errorf("%s, %s: %.0f allocations", want.direction, r.name, us.allocs)
			}
			if sonic := results[len(results)-1]; slices.Contains(aheadOfSonic, r.name) && sonic.slower <= 1 {
				t.Errorf("%s, %s: %.0f ns, sonic %.0f ns", want.direction, r.name, us.nanos, sonic.nanos)
			}
		}
		mean = math.Exp(mean / float64(len(rows())))
		fmt.Printf("\n%s: %.1f× protojson with generated types in the geometric mean (required: %.0f×), %.1f× at least (required: %.0f×)\n",
			want.direction, mean, want.mean, least, want.least)
		if mean < want.mean || least < want.least {
			t.Errorf("%s is slower than required", want.direction)
		}
	}
	fmt.Print(all.String())
}

// turns is how often each subject is measured; of what comes of that, the median counts.
const turns = 9

func measureAll(t *testing.T, subjects []subject) []measured {
	t.Helper()
	times, ratios := make([][]float64, len(subjects)), make([][]float64, len(subjects))
	for turn := range turns {
		for i, s := range subjects {
			times[i] = append(times[i], cpuPerOp(t, s.run))
			ratios[i] = append(ratios[i], times[i][turn]/times[0][turn])
		}
	}
	results := make([]measured, len(subjects))
	for i, s := range subjects {
		slices.Sort(times[i])
		slices.Sort(ratios[i])
		results[i] = measured{s.name, times[i][turns/2], testing.AllocsPerRun(10, func() { _ = s.run() }), ratios[i][turns/2]}
	}
	return results
}

// cpuPerOp is the time of the processor that a call of run takes, in nanoseconds, over about 50 ms of calls.
func cpuPerOp(t *testing.T, run func() error) float64 {
	t.Helper()
	for n := 1; ; n *= 2 {
		runtime.GC()
		before := cpuTime(t)
		for range n {
			if err := run(); err != nil {
				t.Fatal(err)
			}
		}
		if d := cpuTime(t) - before; d > 50*time.Millisecond {
			return float64(d) / float64(n)
		}
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
