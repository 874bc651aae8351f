package connectconformance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	runner          = "connectrpc.com/conformance/cmd/connectconformance"
	referenceServer = "connectrpc.com/conformance/cmd/referenceserver"
	toolsMod        = "../../tools/conformance.mod"
	// leastCases is how many cases version 1.0.5 has for config.yaml, so that a run of none does not pass.
	leastCases = 2000
)

// TestMain is the server under test where the runner starts it.
func TestMain(m *testing.M) {
	if os.Getenv(envReferenceServer) == "" {
		os.Exit(m.Run())
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var total = regexp.MustCompile(`Total cases: (\d+)\n(\d+) passed, 0 failed.*\n.*`)

func TestTheGatewayPassesTheConnectConformanceSuite(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	goTool := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	goTool("build", "-modfile="+toolsMod, "-o", dir+"/", runner, referenceServer)
	module := goTool("list", "-modfile="+toolsMod, "-m", "-f", "{{.Dir}}", "connectrpc.com/conformance")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, filepath.Join(dir, "connectconformance"), "--mode", "server", "--conf", "testdata/config.yaml",
		"--known-failing", "@testdata/known-failing.txt", "--known-flaky", "@testdata/known-flaky.txt",
		"--parallel", "24", "--max-servers", "6", "--", self)
	command.Env = append(os.Environ(), envReferenceServer+"="+filepath.Join(dir, "referenceserver"), envProtos+"="+filepath.Join(module, "proto"))
	// The runner leaves its servers behind when it is killed.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-20000):])
	}
	found := total.FindSubmatch(out)
	if found == nil {
		t.Fatalf("no result:\n%s", out[max(0, len(out)-20000):])
	}
	if n, _ := strconv.Atoi(string(found[2])); n < leastCases {
		t.Errorf("%d cases passed, want %d", n, leastCases)
	}
	t.Logf("%s", found[0])
}
