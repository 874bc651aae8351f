package gateway

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// serverLog hands on what net/http says: of what clients do at the level debug, and of a panic over a request, which is the
// gateway's own fault, as an error.
type serverLog struct{ to *slog.Logger }

func newServerLog(to *slog.Logger) *log.Logger { return log.New(serverLog{to}, "", 0) }

func (l serverLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(line, []byte("panic serving")) {
		level = slog.LevelError
	}
	l.to.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
