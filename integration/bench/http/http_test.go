package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/rig"
)

// server is a proxy that runs in processes of its own. It serves HTTP/1.1 and, unless another address is for that, h2c.
type server struct {
	name  string
	start func(b *testing.B, backend string) (address, h2c string, process *rig.Process)
}

var servers = []server{{"crossgate", startCrossgate}, {"httputil", startPeer}, {"caddy", startCaddy}, {"nginx", startNginx}}

const (
	rounds      = 5
	roundTime   = 2 * time.Second
	connections = 32
)

// BenchmarkProxy has wrk load each proxy in turn, several rounds of them, and reports the median of the CPU time that each
// used for a request, and its ratio to the first peer's. Proxies that are not installed are left out.
func BenchmarkProxy(b *testing.B) {
	if _, err := exec.LookPath("wrk"); err != nil {
		b.Skip("wrk is not installed (Debian: wrk)")
	}
	small, large := strings.Repeat("x", 1024), strings.Repeat("x", 100<<10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h["Content-Type"] = []string{"text/plain"}
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, large)
		case "/chunks":
			_, _ = io.WriteString(w, small)
			_ = http.NewResponseController(w).Flush()
		default:
			h["Content-Length"] = []string{"1024"}
			_, _ = io.WriteString(w, small)
		}
	}))
	b.Cleanup(backend.Close)
	type running struct {
		name, address, h2c string
		process            *rig.Process
	}
	var all []running
	for _, s := range servers {
		if address, h2c, process := s.start(b, backend.Listener.Addr().String()); address != "" {
			all = append(all, running{s.name, address, h2c, process})
		}
	}
	post := filepath.Join(b.TempDir(), "post.lua")
	if err := os.WriteFile(post, []byte(`wrk.method="POST" wrk.body=string.rep("x",1024) wrk.headers["Content-Type"]="text/plain"`), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, path, script string
		h2c                bool
	}{
		{"get-1KB", "/small", "", false}, {"post-1KB", "/small", post, false}, {"chunks-1KB", "/chunks", "", false}, {"get-100KB", "/large", "", false},
		{"h2c-get-1KB", "/small", "", true}, {"h2c-get-100KB", "/large", "", true},
	} {
		b.Run(c.name, func(b *testing.B) {
			if _, err := exec.LookPath("h2load"); c.h2c && err != nil {
				b.Skip("h2load is not installed (Debian: nghttp2-client)")
			}
			perRequest := map[string][]float64{}
			for range rounds {
				for _, s := range all {
					before := s.process.CPU(b)
					n := 0
					if c.h2c {
						n = loadHTTP2(b, "http://"+s.h2c+c.path)
					} else {
						n = load(b, "http://"+s.address+c.path, c.script)
					}
					perRequest[s.name] = append(perRequest[s.name], (s.process.CPU(b)-before).Seconds()*1e6/float64(n))
				}
			}
			mine := median(perRequest["crossgate"])
			for _, s := range all {
				b.ReportMetric(median(perRequest[s.name]), s.name+"-µs/op")
				if s.name != "crossgate" {
					b.ReportMetric(mine/median(perRequest[s.name]), "ratio-to-"+s.name)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

var served = regexp.MustCompile(`(\d+) requests in`)

// load has wrk send requests for a round and returns how many were answered.
func load(b *testing.B, url, script string) int {
	args := []string{"-t1", "-c" + strconv.Itoa(connections), "-d" + roundTime.String()}
	if script != "" {
		args = append(args, "-s", script)
	}
	out, err := exec.CommandContext(context.Background(), "wrk", append(args, url)...).CombinedOutput()
	if err != nil {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	m := served.FindSubmatch(out)
	if m == nil || strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		b.Fatalf("wrk says\n%s", out)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

var succeeded = regexp.MustCompile(`(\d+) succeeded, (\d+) failed, (\d+) errored`)

// loadHTTP2 is load by HTTP/2 with prior knowledge: as many requests at a time, on a quarter as many connections.
func loadHTTP2(b *testing.B, url string) int {
	args := []string{"-t1", "-c" + strconv.Itoa(connections/4), "-m4", "-D" + strconv.Itoa(int(roundTime.Seconds())), url}
	out, err := exec.CommandContext(context.Background(), "h2load", args...).CombinedOutput()
	if err != nil {
		b.Fatalf("h2load: %v\n%s", err, out)
	}
	m := succeeded.FindSubmatch(out)
	if m == nil || string(m[2]) != "0" || string(m[3]) != "0" {
		b.Fatalf("h2load says\n%s", out)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

func startCrossgate(b *testing.B, backend string) (address, h2c string, process *rig.Process) {
	g := rig.StartGatewayProcess(b, fmt.Sprintf(`
upstreams: [{name: app, protocol: http, endpoints: [%q]}]
routes: [{name: app, match: {path_prefix: /}, http: {upstream: app}}]
`, backend))
	address = strings.TrimPrefix(g.URL, "http://")
	return address, address, g.Process
}

func startPeer(b *testing.B, backend string) (address, h2c string, process *rig.Process) {
	return startBuilt(b, "./peer", func(listen string) []string { return []string{listen, backend} })
}

// startCaddy builds Caddy, whose modules are not the project's.
func startCaddy(b *testing.B, backend string) (address, h2c string, process *rig.Process) {
	file := filepath.Join(b.TempDir(), "caddy.json")
	return startBuilt(b, "caddy.go", func(listen string) []string {
		text := fmt.Sprintf(`{"admin": {"disabled": true}, "logging": {"logs": {"default": {"level": "ERROR"}}},
			"apps": {"http": {"servers": {"a": {"listen": [%q], "protocols": ["h1", "h2c"], "automatic_https": {"disable": true}, "routes": [{"handle": [
				{"handler": "reverse_proxy", "upstreams": [{"dial": %q}], "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 256}}}]}]}}}}}`, listen, backend)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return []string{"run", "--config", file}
	})
}

// startBuilt builds a program and runs it.
func startBuilt(b *testing.B, program string, args func(listen string) []string) (address, h2c string, process *rig.Process) {
	path := filepath.Join(b.TempDir(), "proxy")
	build := []string{"build", "-o", path}
	if strings.HasSuffix(program, ".go") {
		build = append(build, "-modfile=../../../tools/peers.mod")
	}
	if out, err := exec.CommandContext(context.Background(), "go", append(build, program)...).CombinedOutput(); err != nil {
		b.Logf("%s is left out: %v\n%s", program, err, out)
		return "", "", nil
	}
	listen := rig.FreeAddress(b)
	p := rig.Run(b, path, args(listen)...)
	waitFor(b, listen)
	return listen, listen, p
}

// startNginx runs nginx with as many workers as Go's programs have threads, and connections kept to the backend.
func startNginx(b *testing.B, backend string) (address, h2c string, process *rig.Process) {
	if _, err := exec.LookPath("nginx"); err != nil {
		b.Log("nginx is left out: it is not installed (Debian: nginx-light)")
		return "", "", nil
	}
	dir, listen, listen2 := b.TempDir(), rig.FreeAddress(b), rig.FreeAddress(b)
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`
daemon off; master_process off; error_log stderr crit; pid %[1]s/pid;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  keepalive_requests 100000000; http2_max_concurrent_streams 128;
  upstream app { server %[2]s; keepalive 256; keepalive_requests 100000000; }
  server {
    listen %[3]s;
    listen %[4]s http2;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`, dir, backend, listen, listen2)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p := rig.Run(b, "nginx", "-c", file, "-p", dir)
	waitFor(b, listen)
	return listen, listen2, p
}

func waitFor(b *testing.B, address string) {
	rig.Eventually(b, 30*time.Second, func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
}
