package codec

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

func randomFloat(r *rand.Rand) float64 {
	switch r.IntN(6) {
	case 0:
		return math.Float64frombits(r.Uint64())
	case 1:
		return float64(r.Int64()>>r.IntN(64)) / math.Pow10(r.IntN(20))
	case 2:
		return math.Ldexp(1, r.IntN(2098)-1074)
	case 3:
		return math.Nextafter(math.Pow10(r.IntN(60)-30), float64(r.IntN(2)*2-1)*math.Inf(1))
	case 4:
		return r.NormFloat64()
	default:
		return float64(r.IntN(1000000)) / 1000
	}
}

func TestFloatsArePrintedAsStrconvDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range rounds(500_000) {
		v := randomFloat(r)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		want, _ := json.Marshal(v)
		if got := appendFloat(nil, v, 64); string(got) != string(want) {
			t.Fatalf("%x: %s, want %s", math.Float64bits(v), got, want)
		}
		w := float32(v)
		if math.IsInf(float64(w), 0) {
			continue
		}
		want, _ = json.Marshal(w)
		if got := appendFloat(nil, float64(w), 32); string(got) != string(want) {
			t.Fatalf("%x: %s, want %s", math.Float32bits(w), got, want)
		}
	}
}

func TestFloatsAreReadAsStrconvDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range rounds(500_000) {
		v := randomFloat(r)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		for _, size := range []int{32, 64} {
			text := strconv.FormatFloat(v, "efg"[r.IntN(3)], r.IntN(22)-1, []int{32, 64}[r.IntN(2)])
			want, err := strconv.ParseFloat(text, size)
			got, end := parseFloatAt([]byte(text), 0, size)
			if math.IsInf(want, 0) {
				if err != nil && end >= 0 {
					t.Fatalf("%s: %v, want an error", text, got)
				}
				continue
			}
			if got != want || end != len(text) {
				t.Fatalf("%s: %v, end %d, want %v", text, got, end, want)
			}
		}
	}
}

func TestIntegersArePrintedAsStrconvDoes(t *testing.T) {
	check := func(v uint64) {
		t.Helper()
		if got, want := string(appendUint(nil, v)), strconv.FormatUint(v, 10); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if got, want := string(appendInt(nil, int64(v))), strconv.FormatInt(int64(v), 10); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	for _, p := range powers {
		check(p)
		check(p - 1)
	}
	r := rand.New(rand.NewPCG(13, 14))
	for range rounds(1_000_000) {
		check(r.Uint64() >> r.IntN(64))
	}
	check(0)
	check(math.MaxUint64)
	check(1 << 63)
}

func TestThePowersOfTenAreFresh(t *testing.T) {
	want, err := exec.Command("go", "run", "./internal/pow10").Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("pow10_table.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("pow10_table.go is stale: run go generate")
	}
}
