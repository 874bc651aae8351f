package telemetry

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/crossgate/crossgate/config"
)

// stalled is a log whose writes wait until it is let go.
type stalled struct {
	buffer
	letGo chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.letGo
	return s.buffer.Write(p)
}

func TestAStalledAccessLogHoldsUpOneCallerAndSaysWhatItLost(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		out := &stalled{letGo: make(chan struct{})}
		tel := New(config.Log{Format: format}, out)
		const callers, each = 4, accessBound / 200
		var all sync.WaitGroup
		through := make(chan struct{}, callers)
		for range callers {
			all.Go(func() {
				for range each {
					tel.Access.Write(fullEntry())
				}
				through <- struct{}{}
			})
		}
		deadline, giveUp := context.WithTimeout(t.Context(), 10*time.Second)
		for range callers - 1 {
			select {
			case <-through:
			case <-deadline.Done():
				t.Error("more than one caller waits for the log")
			}
		}
		giveUp()
		close(out.letGo)
		all.Wait()
		tel.Close()
		kept := strings.Count(out.String(), "2001:db8::1")
		lost := lostLines(t, out.String(), format)
		if lost == 0 || kept+lost != callers*each {
			t.Errorf("%s: %d lines kept and %d said to be lost, of %d", format, kept, lost, callers*each)
		}
	}
}

// lostLines adds up what the log says it lost.
func lostLines(t *testing.T, text, format string) (lost int) {
	t.Helper()
	for l := range strings.Lines(text) {
		if !strings.Contains(l, "the access log fell behind") {
			continue
		}
		if format == "text" {
			_, number, _ := strings.Cut(strings.TrimSpace(l), " lines_lost=")
			l = `{"lines_lost":` + number + `}`
		}
		var fields struct {
			Lost int `json:"lines_lost"`
		}
		if err := json.Unmarshal([]byte(l), &fields); err != nil {
			t.Fatalf("%v in %q", err, l)
		}
		lost += fields.Lost
	}
	return lost
}

func TestATelemetryMayBeClosedTwiceAndALineAfterThatIsWritten(t *testing.T) {
	var out buffer
	tel := New(config.Log{}, &out)
	tel.Close()
	tel.Access.Write(fullEntry())
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
	tel.Close()
}

func TestAnAccessLineSaysNothingToATerminal(t *testing.T) {
	for _, value := range []string{"\u009b31m", "\u0085x", "\u0080", "\x1b[2J", "\x7f", "\u2028", "\u2029", "\r"} {
		for _, format := range []string{"json", "text"} {
			line := written(config.Log{Format: format}, &AccessEntry{Path: value, User: value})
			for _, r := range strings.TrimSuffix(line, "\n") {
				if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
					t.Errorf("%s: %U is in the line as it is: %q", format, r, line)
				}
			}
			var fields struct{ Path string }
			if format == "json" && (json.Unmarshal([]byte(line), &fields) != nil || fields.Path != value) {
				t.Errorf("the path reads %q, want %q", fields.Path, value)
			}
		}
	}
}

func TestTheLevelOfTheProcessLogFollowsAReload(t *testing.T) {
	var out buffer
	tel := start(t, config.Log{Level: "warn"}, &out)
	tel.Logger.Info("one")
	tel.Logger.Warn("two")
	tel.Configure(config.Log{Level: "debug"})
	tel.Logger.Debug("three")
	tel.Configure(config.Log{Level: "error"})
	tel.Logger.Warn("four")
	tel.Configure(config.Log{})
	tel.Logger.Debug("five")
	tel.Logger.Info("six")
	var got []string
	for text := range strings.Lines(out.String()) {
		var fields struct{ Msg string }
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		got = append(got, fields.Msg)
	}
	if strings.Join(got, " ") != "two three six" {
		t.Errorf("logged %v, want two, three and six", got)
	}
}
