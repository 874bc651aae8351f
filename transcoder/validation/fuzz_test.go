package validation

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/crossgate/crossgate/fault"
)

// twoKeys has an entry of Order.by_key whose key is text, and then a number.
var twoKeys = []byte("\x1a\x05\x0a\x01a\x08\x01")

func TestCheckRefusesAMapEntryWithKeysOfTwoTypes(t *testing.T) {
	err := rulesOf(t, message(compileProto(t, shop), "Order")).Check(twoKeys)
	if refused, ok := errors.AsType[*fault.Error](err); !ok || refused.Reason != fault.InvalidRequest {
		t.Errorf("%v", err)
	}
}

// FuzzCheck feeds bytes that may be no message: what can be built must be weighed, and whatever comes is taken or
// refused with a reason.
func FuzzCheck(f *testing.F) {
	order := message(compileProto(f, shop), "Order")
	rules := rulesOf(f, order)
	f.Add(wireOf(f, order, `{"customerName":"annabel","orderItems":[{"count":1,"parts":[{"count":3}]}],"card":"x","byKey":{"a":{"count":1}},"flags":[true]}`))
	f.Add(wireOf(f, order, `{"customerName":"a","parent":{"share":3}}`))
	f.Add([]byte("\x0a\x80"))
	f.Add(twoKeys)
	f.Fuzz(func(t *testing.T, wire []byte) {
		_, weighErr := weigh(wire, order)
		if buildErr := rules.build(dynamicpb.NewMessage(order), wire); buildErr == nil && errors.Is(weighErr, errWire) {
			t.Error("a message that can be built cannot be weighed")
		}
		if err := rules.Check(wire); err != nil {
			if _, ok := errors.AsType[*fault.Error](err); !ok {
				t.Errorf("refused with %v", err)
			}
		}
	})
}
