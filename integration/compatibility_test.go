package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/crossgate/crossgate/integration/rig"
	"github.com/crossgate/crossgate/integration/testproto/testserver"
)

// testSetWithout is the test service's descriptors without the method Bindings.Poke, and with a string for a number.
func testSetWithout(t testing.TB) []byte {
	t.Helper()
	set := proto.CloneOf(testserver.DescriptorSet())
	for _, f := range set.File {
		for _, s := range f.Service {
			s.Method = slices.DeleteFunc(s.Method, func(m *descriptorpb.MethodDescriptorProto) bool { return m.GetName() == "Poke" })
		}
		for _, m := range f.MessageType {
			for _, field := range m.Field {
				if m.GetName() == "Bound" && field.GetName() == "number" {
					field.Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
				}
			}
		}
	}
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// adminSet is a crossgate.admin.v1.DescriptorSet in JSON.
type adminSet struct {
	Name, Sha256, Version, SizeBytes, CreateTime string
	Services                                     []string
	Breaks                                       []struct{ Kind, Subject, Description string }
}

// adminCall calls the admin listener and reads its answer, which must have the status.
func adminCall[T any](t testing.TB, want int, method, url, contentType string, body []byte) T {
	t.Helper()
	code, text := call(t, method, url, contentType, body)
	var answer T
	if err := json.Unmarshal([]byte(text), &answer); err != nil || code != want {
		t.Fatalf("%s %s: %d %s, want %d", method, url, code, text, want)
	}
	return answer
}

func TestABreakingDescriptorSetIsRefusedUnlessForcedAndCanBeRolledBack(t *testing.T) {
	backend := testserver.Start(t)
	redis := rig.StartRedis(t)
	yaml := fmt.Sprintf(oneUpstream, backend.Address, "redis: {url: "+redis.URL()+"}")
	yaml = strings.Replace(yaml, `admin: {`, `admin: {descriptor_versions: 3, `, 1)
	one, two := rig.StartGateway(t, yaml), rig.StartGateway(t, yaml)
	sets := one.Admin + "/v1/descriptorSets"
	register := func(want int, query string, raw []byte) adminSet {
		t.Helper()
		return adminCall[adminSet](t, want, "POST", sets+"?descriptor_set_id=test"+query, "application/x-protobuf", raw)
	}
	// Poke is served where the set in force has it.
	poke := func(want bool) {
		t.Helper()
		status := map[bool]int{true: 200, false: 405}[want]
		for _, g := range []*rig.Gateway{one, two} {
			rig.Eventually(t, rig.Patience, func() error {
				if code, text := call(t, "POST", g.URL+"/bind/v1/things/x:poke", "application/json", []byte("{}")); code != status {
					return fmt.Errorf("poke: %d %s, want %d", code, text, status)
				}
				return nil
			})
		}
	}
	full, less := testSet(t), testSetWithout(t)
	if set := register(200, "", full); set.Version != "1" || len(set.Breaks) > 0 {
		t.Fatalf("%+v", set)
	}
	poke(true)
	kinds := []string{"FIELD_TYPE_CHANGED crossgate.test.v1.Bound.number", "METHOD_REMOVED crossgate.test.v1.Bindings.Poke"}
	check := func(set adminSet) {
		t.Helper()
		var got []string
		for _, b := range set.Breaks {
			if b.Description == "" {
				t.Errorf("%+v says not what has changed", b)
			}
			got = append(got, b.Kind+" "+b.Subject)
		}
		slices.Sort(got)
		if !slices.Equal(got, kinds) {
			t.Errorf("breaks %v, want %v", got, kinds)
		}
	}

	t.Run("refused with the list", func(t *testing.T) {
		answer, body := ask(t, "POST", sets+"?descriptor_set_id=test", string(less), "Content-Type", "application/x-protobuf")
		s := wantStatus(t, answer, body, 409, codes.FailedPrecondition)
		if reason, _ := errorInfo(t, s.Details); reason != "DESCRIPTOR_SET_INCOMPATIBLE" || len(s.Details) != 2 {
			t.Fatalf("details %v", s.Details)
		}
		var failure struct {
			Details []struct {
				Violations []struct{ Type, Subject, Description string }
			}
		}
		if err := json.Unmarshal([]byte(body), &failure); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range failure.Details[1].Violations {
			got = append(got, v.Type+" "+v.Subject)
		}
		slices.Sort(got)
		if !slices.Equal(got, kinds) {
			t.Errorf("violations %v, want %v", got, kinds)
		}
		poke(true)
	})
	t.Run("a dry run says the same and changes nothing", func(t *testing.T) {
		set := register(200, "&dry_run=true", less)
		check(set)
		if set.Version != "" || set.CreateTime != "" || set.Sha256 == "" || len(set.Services) == 0 {
			t.Errorf("%+v", set)
		}
		if set := register(200, "&dryRun=true&force=true", less); len(set.Breaks) != 2 {
			t.Errorf("%+v", set)
		}
		poke(true)
		if code, text := call(t, "POST", sets+"?descriptor_set_id=test&dry_run=true", "application/x-protobuf", []byte("garbage")); code != 400 {
			t.Errorf("a dry run of garbage: %d %s", code, text)
		}
		if code, text := call(t, "POST", sets+"?descriptor_set_id=test&force=perhaps", "application/x-protobuf", less); code != 400 || !strings.Contains(text, "true or false") {
			t.Errorf("force=perhaps: %d %s", code, text)
		}
	})
	t.Run("forced, on every node", func(t *testing.T) {
		set := register(200, "&force=true", less)
		check(set)
		if set.Version != "2" {
			t.Errorf("version %s", set.Version)
		}
		poke(false)
	})
	versions := func() (numbers []string) {
		t.Helper()
		list := adminCall[struct{ Versions []adminSet }](t, 200, "GET", sets+"/test/versions", "", nil)
		for _, v := range list.Versions {
			if v.Name != "descriptorSets/test" || v.Sha256 == "" || v.CreateTime == "" || v.SizeBytes == "" {
				t.Errorf("version %+v", v)
			}
			numbers = append(numbers, v.Version)
		}
		return numbers
	}
	rollback := func(want int, body string) adminSet {
		t.Helper()
		return adminCall[adminSet](t, want, "POST", sets+"/test:rollback", "application/json", []byte(body))
	}
	t.Run("rolled back, on every node", func(t *testing.T) {
		if got := versions(); !slices.Equal(got, []string{"2", "1"}) {
			t.Errorf("versions %v", got)
		}
		if set := rollback(200, `{"version":1}`); set.Version != "3" || len(set.Breaks) != 1 {
			t.Errorf("%+v", set)
		}
		poke(true)
		set := rollback(200, "") // to the one before
		check(set)
		poke(false)
		if got := versions(); set.Version != "4" || !slices.Equal(got, []string{"4", "3", "2"}) {
			t.Errorf("version %s, versions %v", set.Version, got)
		}
		rollback(404, `{"version":1}`)
		rollback(400, `{"version":"x"}`)
		adminCall[rpcStatus](t, 404, "POST", sets+"/nothing:rollback", "application/json", nil)
		adminCall[rpcStatus](t, 404, "POST", sets+"/test:other", "application/json", nil)
		adminCall[rpcStatus](t, 404, "GET", sets+"/nothing/versions", "", nil)
		if code, _ := call(t, "POST", sets+"/test:rollback", "application/json", nil, "Origin", "https://evil.example.com"); code != 403 {
			t.Errorf("a web page rolls back: %d", code)
		}
	})
	t.Run("registering what is in force makes no version", func(t *testing.T) {
		if set := register(200, "", less); set.Version != "4" {
			t.Errorf("version %s", set.Version)
		}
	})
}

func TestOfTwoRegistrationsAtOnceThatExcludeEachOtherOneIsStored(t *testing.T) {
	backend := testserver.Start(t)
	redis := rig.StartRedis(t)
	yaml := fmt.Sprintf(oneUpstream, backend.Address, "redis: {url: "+redis.URL()+"}")
	nodes := []*rig.Gateway{rig.StartGateway(t, yaml), rig.StartGateway(t, yaml)}
	for range 5 {
		var answers [2]int
		var registering sync.WaitGroup
		for i, g := range nodes {
			// The same services under two names.
			registering.Go(func() {
				answers[i], _ = call(t, "POST", fmt.Sprintf("%s/v1/descriptorSets?descriptor_set_id=set%d", g.Admin, i), "application/x-protobuf", testSet(t))
			})
		}
		registering.Wait()
		stored := slices.Index(answers[:], 200)
		slices.Sort(answers[:])
		if answers != [2]int{200, 400} {
			t.Fatalf("answers %v, want one 200 and one 400", answers)
		}
		for _, g := range nodes {
			serves(t, g.URL+"/bind/v1/one/x", 200)
		}
		if code, text := call(t, "DELETE", fmt.Sprintf("%s/v1/descriptorSets/set%d", nodes[0].Admin, stored), "", nil); code != 200 {
			t.Fatalf("%d %s", code, text)
		}
		for _, g := range nodes {
			serves(t, g.URL+"/bind/v1/one/x", 404)
		}
	}
}

func TestDescriptorsDiffListsWhatBreaks(t *testing.T) {
	binary, dir := rig.Build(t), t.TempDir()
	for name, raw := range map[string][]byte{"old": testSet(t), "new": testSetWithout(t)} {
		if err := os.WriteFile(dir+"/"+name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(binary, "descriptors", "diff", dir+"/old", dir+"/new").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "changes that break callers: 2") ||
		!strings.Contains(string(out), "METHOD_REMOVED") || !strings.Contains(string(out), "its type was int64, and is string") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command(binary, "descriptors", "diff", dir+"/old", dir+"/old").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("without a difference: %v: %s", err, out)
	}
}
