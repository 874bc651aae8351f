package config

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "250ms": 250 * time.Millisecond, "5s": 5 * time.Second, "1.5s": 1500 * time.Millisecond, "10m": 10 * time.Minute,
		"2h": 2 * time.Hour, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "36500d": 36500 * 24 * time.Hour, "3µs": 3000,
	} {
		got, err := parseDuration(text)
		if err != nil || got.Std() != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
		if again, err := parseDuration(got.String()); err != nil || again != got {
			t.Errorf("%s: prints as %s, which is %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "5", "-5s", "+5s", "5 s", "5S", "s", ".5s", "1e3s", "7d12h", "1.5d", "36501d", "9999999999h", "99999999999999999999d", "١s"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "512B": 512, "1KB": 1000, "64KiB": 65536, "4MiB": 4 << 20, "1GB": 1e9, "1GiB": 1 << 30, "2TiB": 2 << 40, "3MB": 3e6, "1TB": 1e12,
		"9223372036854775807": math.MaxInt64,
	} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
		if again, err := parseSize(got.String()); err != nil || again != got {
			t.Errorf("%s: prints as %s, which is %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "64kb", "64K", "4 MiB", "MiB", "9223372036854775808", "9999999999TiB", "0x10"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Rate{
		"100/s": {100, time.Second}, "5/m": {5, time.Minute}, "1000/h": {1000, time.Hour}, "10/d": {10, 24 * time.Hour},
		"10/10s": {10, 10 * time.Second}, "1/500ms": {1, 500 * time.Millisecond}, "3/1.5h": {3, 90 * time.Minute}, "1/2d": {1, 48 * time.Hour},
		"1000000000/s": {1e9, time.Second},
	} {
		got, err := parseRate(text)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
		if again, err := parseRate(got.String()); err != nil || again != got {
			t.Errorf("%s: prints as %s, which is %v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "100", "/s", "0/s", "-1/s", "1.5/s", "1/0s", "1/", "1/w", "1/10", "10 / s", "1/s/s", "1000000001/s", "99999999999/h", "1/99999d"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}

func TestRateOfAFractionOfATimePrintsAsItCanBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"1/90m", "2/1.5s", "7/100ms", "7/1500ms"} {
		r, err := parseRate(text)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseRate(r.String()); err != nil || again != r {
			t.Errorf("%s: prints as %s, which is %v, %v", text, r, again, err)
		}
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "192.0.2.7": "192.0.2.7/32", "2001:db8::/32": "2001:db8::/32", "::1": "::1/128", "0.0.0.0/0": "0.0.0.0/0",
	} {
		got, err := parsePrefix(text)
		if err != nil || got.Std() != netip.MustParsePrefix(want) || got.String() != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "fe80::1%eth0", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "localhost"} {
		if got, err := parsePrefix(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}
