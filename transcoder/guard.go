package transcoder

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/crossgate/crossgate/fault"
)

// Guard calls f, and makes a panic the error of the call that it is for. It is for what is done to messages in goroutines
// that no handler runs in: net/http recovers the panics of handlers, and any other ends the process with all other calls.
func Guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("a call ended in a panic", "panic", p, "stack", string(debug.Stack()))
			err = &fault.Error{Reason: fault.Internal, Message: "the gateway failed", Cause: fmt.Errorf("panic: %v", p)}
		}
	}()
	return f()
}
