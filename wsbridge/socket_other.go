//go:build !unix

package wsbridge

// socket is for systems where connections can be used below the runtime's own reads and writes.
type socket struct{}

func newSocket(any) *socket { return nil }

func (*socket) tryWrite([]byte) int { return 0 }
func (*socket) await() []byte       { return nil }
func (*socket) release()            {}
