package wsbridge

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// connected returns the ends of a connection.
func connected(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return server, client
}

func TestAFrameThatHasBegunIsEndedBeforeTheCloseFrame(t *testing.T) {
	server, client := connected(t)
	spawned := make(chan func(), 1)
	w := &wire{Conn: server, socket: newSocket(server), limit: 1 << 30, timeout: time.Minute, spawn: func(f func()) { spawned <- f }}
	if w.socket == nil {
		t.Skip("frames are written whole here")
	}
	frame := seal(append(newFrame(0), strings.Repeat("x", 1_000_003)...), finText)
	for len(spawned) == 0 {
		w.sendNow(frame)
	}
	// The session ends before what is left of the frame is being written.
	w.hush()
	if _, err := w.Write(closeFrame(CloseSlowConsumer, "slow")); err != nil {
		t.Fatal(err)
	}
	go (<-spawned)()
	in := bufio.NewReader(client)
	_ = client.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err != nil {
			t.Fatal(err)
		}
		switch head[0] {
		case finText:
			if _, err := in.Discard(8 + 1_000_003); err != nil {
				t.Fatal(err)
			}
		case finClose:
			code := make([]byte, 2)
			if _, err := io.ReadFull(in, code); err != nil || websocket.StatusCode(binary.BigEndian.Uint16(code)) != CloseSlowConsumer {
				t.Fatalf("closed with %d, %v", binary.BigEndian.Uint16(code), err)
			}
			return
		default:
			t.Fatalf("a frame begins with %x", head)
		}
	}
}
