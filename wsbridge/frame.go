package wsbridge

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// The first byte of a frame that is a whole message (RFC 6455 section 5.2).
const (
	finText   = 0x80 | 1
	finBinary = 0x80 | 2
	finClose  = 0x80 | 8
	finPing   = 0x80 | 9
)

// headerRoom is the longest header of a frame that is not masked, as a server's frames are not.
const headerRoom = 10

// pingFrame is the ping of every session.
var pingFrame = seal(newFrame(0), finPing)

// newFrame begins a frame: its payload is appended, and seal ends it. The bytes are shared by every session that the frame
// goes to, and so never change afterwards.
func newFrame(size int) []byte { return make([]byte, headerRoom, headerRoom+size) }

// seal puts the header before the payload.
func seal(b []byte, first byte) []byte {
	n := len(b) - headerRoom
	switch {
	case n < 126:
		b = b[headerRoom-2:]
		b[1] = byte(n)
	case n <= 0xffff:
		b = b[headerRoom-4:]
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	default:
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
	b[0] = first
	return b
}

// appendHead begins an envelope: {"id":1,"type":"ok", without the id where it is empty.
func appendHead(b []byte, id json.RawMessage, kind string) []byte {
	b = append(b, '{')
	if len(id) > 0 {
		b = append(append(append(b, `"id":`...), id...), ',')
	}
	return append(append(append(b, `"type":"`...), kind...), '"')
}

func okFrame(id json.RawMessage, channel string) []byte {
	b := appendHead(newFrame(48+len(channel)), id, "ok")
	if channel != "" {
		b = bus.AppendString(append(b, `,"channel":`...), channel)
	}
	return seal(append(b, '}'), finText)
}

// queuedFrame is the ok to a message that is in the service's queue.
func queuedFrame(id json.RawMessage, q bus.Queued) []byte {
	b := appendHead(newFrame(80), id, "ok")
	if q.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	if q.Unattended {
		b = append(b, `,"unattended":true`...)
	}
	return seal(append(b, '}'), finText)
}

func pongFrame(id json.RawMessage) []byte {
	return seal(append(appendHead(newFrame(32), id, "pong"), '}'), finText)
}

// errorFrame says when to come again where retryAfter is above 0.
func errorFrame(id json.RawMessage, code, message string, retryAfter time.Duration) []byte {
	b := append(append(appendHead(newFrame(80+len(message)), id, "error"), `,"code":"`...), code...)
	b = bus.AppendString(append(b, `","message":`...), message)
	if retryAfter > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after_ms":`...), int64((retryAfter+time.Millisecond-1)/time.Millisecond), 10)
	}
	return seal(append(b, '}'), finText)
}

// messageFrame is what subscribers of a channel get; channel is empty for what was sent to a user or to everyone.
func messageFrame(channel string, p payload) []byte {
	b := appendHead(newFrame(len(p.bytes)+len(channel)+56), nil, "message")
	if channel != "" {
		b = bus.AppendString(append(b, `,"channel":`...), channel)
	}
	return seal(append(p.appendMember(b), '}'), finText)
}

// keptFrame is messageFrame for a channel with history.
func keptFrame(channel string, m *bus.Kept) []byte {
	p := payloadOf(m.Payload)
	b := bus.AppendString(append(appendHead(newFrame(len(p.bytes)+len(channel)+88), nil, "message"), `,"channel":`...), channel)
	b = strconv.AppendUint(append(b, `,"offset":`...), m.Offset, 10)
	return seal(append(p.appendMember(b), '}'), finText)
}

// subscribedFrame is the ok to a subscription to a channel with history; recovered is empty where the client asked for
// nothing that it had missed.
func subscribedFrame(id json.RawMessage, channel string, at bus.Position, recovered string) []byte {
	b := appendPosition(appendHead(newFrame(128+len(channel)), id, "ok"), channel, at)
	if recovered != "" {
		b = append(append(b, `,"recovered":`...), recovered...)
	}
	return seal(append(b, '}'), finText)
}

// assignedFrame tells of a subscription that the client did not ask for; at is nil for a channel without history.
func assignedFrame(channel string, at *bus.Position) []byte {
	b := appendHead(newFrame(128+len(channel)), nil, "subscribed")
	if at != nil {
		b = appendPosition(b, channel, *at)
	} else {
		b = bus.AppendString(append(b, `,"channel":`...), channel)
	}
	return seal(append(b, '}'), finText)
}

// presenceFrame is who is in a channel.
func presenceFrame(id json.RawMessage, channel string, p *bus.Presence, countOnly bool) []byte {
	b := bus.AppendString(append(appendHead(newFrame(256), id, "presence"), `,"channel":`...), channel)
	b = strconv.AppendInt(append(b, `,"connections":`...), p.Connections, 10)
	b = strconv.AppendInt(append(b, `,"users":`...), p.Users, 10)
	if countOnly {
		return seal(append(b, '}'), finText)
	}
	b = append(b, `,"members":[`...)
	for i := range p.Members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendPresent(append(b, '{'), &p.Members[i]), '}')
	}
	b = append(b, ']')
	if p.Next != "" {
		b = bus.AppendString(append(b, `,"next":`...), p.Next)
	}
	return seal(append(b, '}'), finText)
}

// presenceEvent tells of one who has joined or left.
func presenceEvent(channel string, joined bool, who *bus.Present) []byte {
	kind := "leave"
	if joined {
		kind = "join"
	}
	b := bus.AppendString(append(appendHead(newFrame(256), nil, kind), `,"channel":`...), channel)
	return seal(append(appendPresent(append(b, ','), who), '}'), finText)
}

func appendPresent(b []byte, who *bus.Present) []byte {
	if who.User != "" {
		b = append(bus.AppendString(append(b, `"user":`...), who.User), ',')
	}
	b = bus.AppendString(append(b, `"connection":`...), who.Connection)
	if len(who.Info) > 0 && string(who.Info) != "null" {
		b = append(append(b, `,"info":`...), who.Info...)
	}
	return b
}

// gapFrame says that messages are lost, up to a position.
func gapFrame(channel string, at bus.Position) []byte {
	b := appendPosition(appendHead(newFrame(128+len(channel)), nil, "gap"), channel, at)
	return seal(append(b, '}'), finText)
}

func appendPosition(b []byte, channel string, at bus.Position) []byte {
	b = bus.AppendString(append(b, `,"channel":`...), channel)
	b = bus.AppendString(append(b, `,"epoch":`...), at.Epoch)
	return strconv.AppendUint(append(b, `,"offset":`...), at.Offset, 10)
}

func replyFrame(id json.RawMessage, p payload) []byte {
	b := appendHead(newFrame(len(p.bytes)+64), id, "reply")
	return seal(append(p.appendMember(b), '}'), finText)
}

func rawFrame(p payload) []byte {
	first := byte(finBinary)
	if p.json {
		first = finText
	}
	return seal(append(newFrame(len(p.bytes)), p.bytes...), first)
}

func goawayFrame(afterMillis int64) []byte {
	b := append(appendHead(newFrame(64), nil, "goaway"), `,"reconnect_after_ms":`...)
	return seal(append(strconv.AppendInt(b, afterMillis, 10), '}'), finText)
}

// closeFrame is for sessions whose close frames the WebSocket library does not write.
func closeFrame(code websocket.StatusCode, reason string) []byte {
	b := binary.BigEndian.AppendUint16(newFrame(2+len(reason)), uint16(code))
	return seal(append(b, reason...), finClose)
}

func busFrame(up bool) []byte {
	state := `{"type":"bus","state":"down"}`
	if up {
		state = `{"type":"bus","state":"up"}`
	}
	return seal(append(newFrame(len(state)), state...), finText)
}

// payload is what a service sent: JSON, or any bytes.
type payload struct {
	bytes []byte
	json  bool
}

// payloadOf finds out which of the two a published payload is. JSON is UTF-8 (RFC 8259 section 8.1), which json.Valid does
// not check; a client has to close the connection over a text frame that is not (RFC 6455 section 8.1).
func payloadOf(b []byte) payload {
	return payload{b, json.Valid(b) && utf8.Valid(b)}
}

// payloadOfEnvelope returns the payload of an envelope, null when it has none.
func payloadOfEnvelope(o *bus.Outbound) payload {
	switch {
	case o.DataBase64 != nil:
		return payload{o.DataBase64, false}
	case len(o.Data) > 0:
		return payload{o.Data, utf8.Valid(o.Data)}
	}
	return payload{[]byte("null"), true}
}

func (p payload) appendMember(b []byte) []byte {
	if p.json {
		return append(append(b, `,"data":`...), p.bytes...)
	}
	return bus.AppendBase64(append(b, `,"data_base64":`...), p.bytes)
}
