package discovery

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/miekg/dns"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follow runs a source and returns functions that wait for the list, and for the problem, that it comes to.
func follow(t *testing.T, s Source) (expect func(list string), expectProblem func(part string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var mu sync.Mutex
	var list, problem string
	changed := make(chan struct{}, 1)
	note := func(f func()) {
		mu.Lock()
		f()
		mu.Unlock()
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	go func() {
		defer close(done)
		s.Run(ctx, &Listener{
			Found: func(found []Endpoint) {
				note(func() {
					var words []string
					for _, e := range found {
						words = append(words, strings.TrimSpace(fmt.Sprintf("%s*%d %s", e.Address, e.Weight, e.Zone)))
					}
					list = strings.Join(words, ", ")
				})
			},
			Failed: func(err error) {
				note(func() {
					problem = ""
					if err != nil {
						problem = err.Error()
					}
				})
			},
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	wait := func(what string, ok func() bool) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			mu.Lock()
			good := ok()
			mu.Unlock()
			if good {
				return
			}
			select {
			case <-changed:
			case <-deadline:
				mu.Lock()
				defer mu.Unlock()
				t.Fatalf("waited for %s; found %q, problem %q", what, list, problem)
			}
		}
	}
	return func(want string) {
			t.Helper()
			wait(want, func() bool { return list == want })
		}, func(part string) {
			t.Helper()
			wait("problem "+part, func() bool { return part == "" && problem == "" || part != "" && strings.Contains(problem, part) })
		}
}

// nameServer answers from records that a test may change.
type nameServer struct {
	address string
	mu      sync.Mutex
	records []dns.RR
	fail    map[uint16]bool
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{fail: map[uint16]bool{}}
	packets, stream := listenBoth(t)
	s.address = stream.Addr().String()
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go server.ActivateAndServe()
		<-started
		t.Cleanup(func() { server.Shutdown() })
	}
	return s
}

// listenBoth listens on a port that is free for UDP and for TCP.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var last error
	for range 20 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stream, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, stream
		}
		packets.Close()
		last = err
	}
	t.Fatal(last)
	return nil, nil
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := new(dns.Msg).SetReply(r)
	q := r.Question[0]
	if s.fail[q.Qtype] {
		answer.Rcode = dns.RcodeServerFailure
	} else {
		for _, record := range s.records {
			if h := record.Header(); h.Rrtype == q.Qtype && h.Name == q.Name {
				answer.Answer = append(answer.Answer, record)
			}
		}
	}
	if w.LocalAddr().Network() == "udp" {
		answer.Truncate(1232)
	}
	_ = w.WriteMsg(answer)
}

func (s *nameServer) set(t *testing.T, lines ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = nil
	for _, line := range lines {
		record, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		s.records = append(s.records, record)
	}
}

func (s *nameServer) breakFor(kinds ...uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fail)
	for _, kind := range kinds {
		s.fail[kind] = true
	}
}

func TestAddressesOfANameAreFollowed(t *testing.T) {
	s := startNameServer(t)
	s.set(t, "shop.test. 60 A 10.0.0.1", "shop.test. 60 A 10.0.0.2", "shop.test. 60 AAAA fd00::1")
	expect, problem := follow(t, &DNS{Name: "shop.test", Port: 50051, Interval: 20 * time.Millisecond, Server: s.address})
	expect("10.0.0.1:50051*1, 10.0.0.2:50051*1, [fd00::1]:50051*1")
	s.set(t, "shop.test. 60 A 10.0.0.3", "shop.test. 60 AAAA fd00::1")
	expect("10.0.0.3:50051*1, [fd00::1]:50051*1")

	// One kind of question fails: what it last answered stays, and the other is followed.
	s.breakFor(dns.TypeAAAA)
	s.set(t, "shop.test. 60 A 10.0.0.4")
	expect("10.0.0.4:50051*1, [fd00::1]:50051*1")

	s.breakFor(dns.TypeA, dns.TypeAAAA)
	problem("SERVFAIL")
	expect("10.0.0.4:50051*1, [fd00::1]:50051*1")
	s.set(t)
	s.breakFor()
	problem("no endpoints")
	expect("10.0.0.4:50051*1, [fd00::1]:50051*1")
	s.set(t, "shop.test. 60 A 10.0.0.5")
	expect("10.0.0.5:50051*1")
	problem("")
}

func TestAnswersThatAreTooLargeForUDPComeByTCP(t *testing.T) {
	s := startNameServer(t)
	var lines, want []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("shop.test. 60 A 10.0.0.%d", i))
		want = append(want, fmt.Sprintf("10.0.0.%d:1*1", i))
	}
	slices.Sort(want)
	s.set(t, lines...)
	expect, _ := follow(t, &DNS{Name: "shop.test", Port: 1, Interval: time.Minute, Server: s.address})
	expect(strings.Join(want, ", "))
}

func TestServicesAreFollowedWithPortsAndWeights(t *testing.T) {
	s := startNameServer(t)
	s.set(t, "_grpc._tcp.shop.test. 60 SRV 1 3 8080 a.shop.test.", "_grpc._tcp.shop.test. 60 SRV 1 0 8081 b.shop.test.",
		"_grpc._tcp.shop.test. 60 SRV 2 1 8082 spare.shop.test.",
		"a.shop.test. 60 A 10.0.0.1", "b.shop.test. 60 A 10.0.0.2", "spare.shop.test. 60 A 10.0.0.3")
	expect, _ := follow(t, &DNS{Name: "_grpc._tcp.shop.test", Service: true, Interval: 20 * time.Millisecond, Server: s.address})
	expect("10.0.0.1:8080*3, 10.0.0.2:8081*1")
	s.set(t, "_grpc._tcp.shop.test. 60 SRV 2 1 8082 spare.shop.test.", "spare.shop.test. 60 A 10.0.0.3")
	expect("10.0.0.3:8082*1")
}

func TestATTLIsWaitedForAndNoLongerThanTheInterval(t *testing.T) {
	s := startNameServer(t)
	s.set(t, "shop.test. 1 A 10.0.0.1")
	expect, _ := follow(t, &DNS{Name: "shop.test", Port: 1, Interval: time.Hour, Server: s.address})
	expect("10.0.0.1:1*1")
	s.set(t, "shop.test. 1 A 10.0.0.2")
	expect("10.0.0.2:1*1")
}

func TestAFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "endpoints.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("- {address: 10.0.0.2:1}\n- {address: 10.0.0.1:1, weight: 2, zone: a}\n")
	expect, problem := follow(t, &File{Path: path})
	expect("10.0.0.1:1*2 a, 10.0.0.2:1*1")
	write(`[{"address": "10.0.0.3:1"}]`)
	expect("10.0.0.3:1*1")
	write("[")
	problem("endpoints.yaml:1")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	problem("no such file")
	expect("10.0.0.3:1*1")
	write("- {address: 10.0.0.4:1}")
	expect("10.0.0.4:1*1")
	problem("")
}

func TestRegistrationsAreFollowedUntilTheirLeaseEnds(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
	defer client.Close()
	ctx := context.Background()
	register := func(address, value string) {
		t.Helper()
		if err := client.Set(ctx, "cg:endpoint:{shop}:"+address, value, 10*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.SAdd(ctx, "cg:endpoints:{shop}", address).Err(); err != nil {
			t.Fatal(err)
		}
	}
	register("10.0.0.1:1", "")
	expect, problem := follow(t, &Redis{Client: client, Prefix: "cg:", Service: "shop", Interval: 10 * time.Millisecond})
	expect("10.0.0.1:1*1")
	server.FastForward(6 * time.Second)
	register("10.0.0.2:1", `{"weight": 3, "zone": "b"}`)
	expect("10.0.0.1:1*1, 10.0.0.2:1*3 b")
	server.FastForward(6 * time.Second) // the first lease is over
	expect("10.0.0.2:1*3 b")
	if members, _ := client.SMembers(ctx, "cg:endpoints:{shop}").Result(); len(members) != 1 {
		t.Errorf("the set has %v", members)
	}
	register("nowhere", "")
	problem(`registration of "nowhere"`)
	register("10.0.0.3:1", "")
	expect("10.0.0.2:1*3 b, 10.0.0.3:1*1")
	server.FastForward(time.Minute) // nobody has renewed: the last known stay
	problem("there are no endpoints")
	expect("10.0.0.2:1*3 b, 10.0.0.3:1*1")
	server.Close()
	problem("redis: ")
	expect("10.0.0.2:1*3 b, 10.0.0.3:1*1")
}
