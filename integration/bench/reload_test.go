package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossgate/crossgate/integration/rig"
)

// reloads is a configuration with many routes that is replaced while requests come.
type reloads struct {
	name string
	// text is the configuration in its nth version; %q in it is the address of a backend.
	text func(n int) string
	// upload is a descriptor set that is registered in place of an edited file; nil for none.
	upload func(t testing.TB, n int) []byte
}

func reloadKinds(routes, parts int) []reloads {
	return []reloads{
		{"one-route-edited", func(n int) string { return teamRoutes(routes, 0) + generation(n) }, nil},
		{"every-route-edited", func(n int) string { return teamRoutes(routes, n) + generation(n) }, nil},
		{"descriptors-uploaded", func(int) string { return "routes:\n  - {name: calls, grpc: {upstream: calls}}\n" + generation(0) },
			func(t testing.TB, n int) []byte { return manyMethods(t, parts-n%2, resources) }},
	}
}

// generation is the route by which a version of the configuration is told from others.
func generation(n int) string {
	return fmt.Sprintf("  - {name: generation, match: {path: /generation}, respond: {body: \"%d\"}}\n  - {name: loaded, match: {path: /loaded}, http: {upstream: plain}}\n", n)
}

// teamRoutes are routes of plain HTTP as teams write them, by template, prefix and host in turn, with limits and origins, and
// some of them with credentials and rules.
func teamRoutes(routes, version int) string {
	matches := []string{
		`{template: "/v1/tenants-%d/shelves/{shelf}/books/{book}"}`, `{path_prefix: /service-%d/}`, `{hosts: [tenant-%d.example.com], path_prefix: /}`,
	}
	var text strings.Builder
	text.WriteString("auth: [{name: main, api_keys: {keys: [{id: ada, key: \"a key of thirty-two characters  !\"}]}}]\nroutes:\n")
	for i := range routes {
		fmt.Fprintf(&text, "  - name: route-%d\n    match: "+matches[i%len(matches)]+"\n    http: {upstream: plain}\n    timeout: %ds\n"+
			"    rate_limits: [{per: ip, rate: 1000000/s}]\n    cors: {origins: [https://app.example.com]}\n", i, i, 10+version)
		if i%10 == 9 {
			fmt.Fprintf(&text, "    auth: {require: [main], roles: [reader]}\n"+
				"    authorize: {rules: [{name: own, allow: 'request.headers[\"x-tenant\"] == \"tenant-%d\"'}]}\n", i)
		}
	}
	return text.String()
}

// answered is one request of a load.
type answered struct {
	from, to time.Time
	err      error
}

// startLoad sends requests over a few connections, each the next one after a pause, until the function that it returns is called.
func startLoad(url string, connections int, pause time.Duration) (stop func() []answered) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	lists := make([][]answered, connections)
	for i := range lists {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				a := answered{from: time.Now()}
				answer, err := client.Get(url)
				if a.err = err; err == nil {
					_, a.err = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					if answer.StatusCode != http.StatusOK {
						a.err = fmt.Errorf("status %s", answer.Status)
					}
				}
				a.to = time.Now()
				lists[i] = append(lists[i], a)
				time.Sleep(pause)
			}
		})
	}
	return func() []answered {
		cancel()
		all.Wait()
		return slices.Concat(lists...)
	}
}

// next prepares the gateway's nth version. The function that it returns brings it about, and waits until it is in force.
func (k *reloads) next(t testing.TB, url, admin, file, header string, n int) (change func()) {
	t.Helper()
	if k.upload != nil {
		set := k.upload(t, n)
		return func() {
			answer, err := http.Post(admin+"/v1/descriptorSets?force=true", "application/octet-stream", bytes.NewReader(set))
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", answer.Status, text)
			}
		}
	}
	if err := os.WriteFile(file+".next", []byte(header+k.text(n)), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(file+".next", file); err != nil {
			t.Fatal(err)
		}
		rig.Eventually(t, 60*time.Second, func() error {
			answer, err := http.Get(url + "/generation")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if text, _ := io.ReadAll(answer.Body); string(text) != fmt.Sprint(n) {
				return fmt.Errorf("generation %s is in force, want %d", text, n)
			}
			return nil
		})
	}
}

// TestNoRequestFailsWhileManyRoutesAreReplaced is BenchmarkReload in small, without its figures.
func TestNoRequestFailsWhileManyRoutesAreReplaced(t *testing.T) {
	plain, calls := startBackends(t)
	for _, k := range reloadKinds(300, 4) {
		t.Run(k.name, func(t *testing.T) {
			header := fmt.Sprintf("listeners: [{address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\nlog: {access: \"off\"}\n"+upstreamsOf, plain, calls)
			g := rig.StartGateway(t, header+k.text(0))
			stop := startLoad(g.URL+"/loaded", 4, time.Millisecond)
			for n := 1; n <= 2; n++ {
				k.next(t, g.URL, g.Admin, g.ConfigFile, header, n)()
			}
			all := stop()
			for _, a := range all {
				if a.err != nil {
					t.Fatalf("one of %d requests: %v", len(all), a.err)
				}
			}
			if len(all) == 0 {
				t.Error("no request was sent")
			}
		})
	}
}

// BenchmarkReload replaces configurations of 10,000 routes ten times while 400 requests come in a second, and reports how long
// they take at other times and meanwhile (p99 is to be within twice that), what a reload takes of the gateway's CPU time and how long, and
// the gateway's memory before and at last. A request that fails fails the benchmark.
func BenchmarkReload(b *testing.B) {
	const connections, pause, steady, times = 8, 20 * time.Millisecond, 3 * time.Second, 10
	// What a reload leaves is collected after it, which counts among its costs.
	const collection = 300 * time.Millisecond
	plain, calls := startBackends(b)
	for _, k := range reloadKinds(many, services) {
		b.Run(k.name, func(b *testing.B) {
			header := fmt.Sprintf(upstreamsOf, plain, calls)
			g := rig.StartGatewayProcess(b, header+k.text(0))
			file := g.ConfigFile
			text, err := os.ReadFile(file)
			if err != nil {
				b.Fatal(err)
			}
			header = strings.TrimSuffix(string(text), k.text(0))
			k.next(b, g.URL, g.Admin, file, header, 1)()
			stop := startLoad(g.URL+"/loaded", connections, pause)
			time.Sleep(steady)
			memory, quiet := g.Memory(b), time.Duration(0)
			var changes []answered
			var cpu, of time.Duration
			for n := range times {
				change := k.next(b, g.URL, g.Admin, file, header, n+2)
				before := g.CPU(b)
				time.Sleep(steady)
				quiet += g.CPU(b) - before
				before = g.CPU(b)
				c := answered{from: time.Now()}
				change()
				took := time.Since(c.from)
				cpu, of = cpu+g.CPU(b)-before, of+took
				time.Sleep(collection)
				c.to = time.Now()
				changes = append(changes, c)
			}
			time.Sleep(steady)
			var during, besides []float64
			for _, a := range stop() {
				if a.err != nil {
					b.Fatal(a.err)
				}
				took := a.to.Sub(a.from).Seconds() * 1e3
				if slices.ContainsFunc(changes, func(c answered) bool { return a.from.Before(c.to) && a.to.After(c.from) }) {
					during = append(during, took)
				} else {
					besides = append(besides, took)
				}
			}
			b.Logf("%d requests meanwhile, %d besides", len(during), len(besides))
			for name, list := range map[string][]float64{"during": during, "steady": besides} {
				slices.Sort(list)
				b.ReportMetric(list[len(list)/2], name+"-p50-ms")
				b.ReportMetric(list[len(list)*99/100], name+"-p99-ms")
			}
			idle := quiet.Seconds() / (times * steady).Seconds() // of one core
			b.ReportMetric((cpu.Seconds()-idle*of.Seconds())/times, "cpu-s/reload")
			b.ReportMetric(of.Seconds()/times, "s/reload")
			b.ReportMetric(float64(memory>>20), "before-MB")
			b.ReportMetric(float64(g.Memory(b)>>20), "after-MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}
