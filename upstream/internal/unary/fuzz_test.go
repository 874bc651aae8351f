package unary

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// FuzzFrames has a peer that sends whatever it likes while calls are under way: nothing may panic, hang or be left behind.
func FuzzFrames(f *testing.F) {
	headers := append(appendFrame(nil, 1, frameHeaders, flagEndHeaders, 1), 0x88)
	f.Add(append(headers, append(appendFrame(nil, 6, frameData, flagEndStream, 1), message("x")...)...))
	f.Add(appendReset(nil, 1, codeRefusedStream))
	f.Add(appendWindowUpdate(nil, 0, 1000))
	f.Add(append(appendFrame(nil, 8, frameGoAway, 0, 0), 0, 0, 0, 1, 0, 0, 0, 0))
	f.Add(appendSetting(appendFrame(nil, 6, frameSettings, 0, 0), settingInitialWindow, 3))
	f.Add(append(appendFrame(nil, 2, frameHeaders, 0, 3), append([]byte{0x40, 0x01}, appendFrame(nil, 0, frameContinuation, flagEndHeaders, 3)...)...))
	f.Fuzz(func(t *testing.T, frames []byte) {
		here, there := net.Pipe()
		go io.Copy(io.Discard, there) // ends when the connection does
		go func() {
			_, _ = there.Write(appendFrame(nil, 0, frameSettings, 0, 0))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := Open(ctx, here, Options{Authority: "a", UserAgent: "b", MaxMessageSize: 1000})
		if err != nil {
			t.Fatal(err)
		}
		first := invoke(ctx, c, &Call{Method: "/t.T/Do", Request: []byte("request")}, new(Reply))
		second := invoke(ctx, c, &Call{Method: "/t.T/Do"}, new(Reply))
		_, _ = there.Write(frames)
		there.Close()
		if status.Code(<-first) == codes.DeadlineExceeded || status.Code(<-second) == codes.DeadlineExceeded {
			t.Error("a call hung")
		}
		<-c.Done()
	})
}
