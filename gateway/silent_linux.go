package gateway

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), which package syscall does not name.
const tcpUserTimeout = 0x12

// giveUp has the kernel end a connection whose peer confirms nothing of what is sent for some time (RFC 5482). Without it, a peer that
// vanishes is noticed once the kernel's buffers are full, or after a quarter of an hour of sending again.
func giveUp(c net.Conn, after time.Duration) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // fails where the connection is gone
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(max(1, after.Milliseconds())))
	})
}
