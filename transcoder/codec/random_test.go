package codec

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	executions = flag.Int("executions", 80_000, "how many random inputs are given to the codec and to the reference")
	seed       = flag.Uint64("seed", 1, "where the random inputs begin")
)

// trials gives random inputs to the codec and to the reference and counts them.
type trials struct {
	*filler
	t         *testing.T
	twins     *twins
	requests  *requestTwins
	responses *responseTwins
	done      int
	started   time.Time
}

// TestRandomInputIsTreatedAsTheReferenceTreatsIt goes over all types with all options, and then on at random, with inputs that are right and
// such that are wrong in some way. make fuzz-codec runs it for a hundred million inputs.
func TestRandomInputIsTreatedAsTheReferenceTreatsIt(t *testing.T) {
	c := theCorpus()
	r := trials{
		filler: &filler{rand.New(rand.NewPCG(*seed, 2)), c}, t: t, started: time.Now(),
		twins: newTwins(), requests: newRequestTwins(t), responses: newResponseTwins(),
	}
	for options := range rounds(len(twinOptions)) {
		for _, md := range c.messages {
			r.message(md, options)
		}
	}
	for r.done < rounds(*executions) {
		md := c.messages[r.IntN(len(c.messages))]
		if r.IntN(8) > 0 { // the more fields a type has, the more there is to try
			md = c.rich[r.IntN(len(c.rich))]
		}
		options := r.IntN(len(twinOptions))
		if twinOptions[options].EmitUnpopulated && r.IntN(3) > 0 {
			options = 0 // the others print less, so that more can be tried
		}
		r.message(md, options)
		r.request()
	}
	t.Logf("%d inputs", r.done)
}

func (r *trials) message(md protoreflect.MessageDescriptor, options int) {
	w := r.twins.pick(r.t, string(md.FullName()), uint8(options))
	m := r.filler.message(md, []int{0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3}[r.IntN(12)])
	wire, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	few := max(1, 12-len(wire)/100)
	r.json(w, wire)
	r.response(md, wire)
	for range few {
		r.json(w, r.disorder(wire, md))
		r.json(w, r.damage(wire))
		r.json(w, r.damage(r.disorder(wire, md)))
	}
	text, err := w.marshal.Marshal(m)
	if err != nil {
		return
	}
	r.wire(w, text)
	for range 3 * few {
		r.wire(w, r.damageText(text))
	}
}

func (r *trials) json(w *twin, wire []byte) {
	if err := w.compareJSON(wire); err != nil {
		r.keep("FuzzWireToJSON", err, string(w.md.FullName()), w.number, wire)
	}
	r.count()
}

func (r *trials) wire(w *twin, text []byte) {
	if err := w.compareWire(text); err != nil {
		r.keep("FuzzJSONToWire", err, string(w.md.FullName()), w.number, text)
	}
	r.count()
}

// response tries a field that a response_body may name.
func (r *trials) response(md protoreflect.MessageDescriptor, wire []byte) {
	if md.Fields().Len() == 0 || formOf(md) != formObject {
		return
	}
	field, options := uint8(r.IntN(md.Fields().Len())), uint8(r.IntN(len(twinOptions)))
	for _, b := range [][]byte{wire, r.disorder(wire, md), r.damage(wire)} {
		if err := r.responses.compare(string(md.FullName()), field, options, b); err != nil {
			r.keep("FuzzResponse", err, string(md.FullName()), field, options, b)
		}
		r.count()
	}
}

// request tries a body with parameters.
func (r *trials) request() {
	body := r.IntN(len(requestBodies))
	text := []byte(requestBodies[body].texts[r.IntN(len(requestBodies[body].texts))])
	if r.IntN(4) == 0 {
		text = r.damageText(text)
	}
	var query []string
	for range r.IntN(5) {
		query = append(query, requestParams[r.IntN(len(requestParams))])
	}
	if err := r.requests.compare(uint8(body), text, strings.Join(query, "&")); err != nil {
		r.keep("FuzzRequest", err, uint8(body), text, strings.Join(query, "&"))
	}
	r.count()
}

func (r *trials) count() {
	if r.done++; r.done%1_000_000 == 0 {
		fmt.Printf("%d inputs, %v\n", r.done, time.Since(r.started).Round(time.Second))
	}
}

// keep writes an input that shows a difference to the seeds of a fuzz target, and fails.
func (r *trials) keep(target string, difference error, input ...any) {
	r.t.Helper()
	text := []byte("go test fuzz v1\n")
	for _, v := range input {
		switch v := v.(type) {
		case uint8:
			text = fmt.Appendf(text, "uint8(%d)\n", v)
		case string:
			text = fmt.Appendf(text, "string(%q)\n", v)
		default:
			text = fmt.Appendf(text, "[]byte(%q)\n", v)
		}
	}
	dir := filepath.Join("testdata", "fuzz", target)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		r.t.Fatal(err)
	}
	h := fnv.New64a()
	h.Write(text)
	path := filepath.Join(dir, fmt.Sprintf("%016x", h.Sum64()))
	if err := os.WriteFile(path, text, 0o666); err != nil {
		r.t.Fatal(err)
	}
	r.t.Fatalf("input %d, kept as %s: %v", r.done, path, difference)
}
