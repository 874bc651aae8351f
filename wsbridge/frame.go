package wsbridge

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Subprotocol is the WebSocket subprotocol of envelopes in JSON.
const Subprotocol = "crossgate.v1.json"

// request is a frame from a client.
type request struct {
	ID      json.RawMessage `json:"id"`
	Type    string          `json:"type"`
	Route   string          `json:"route"`
	Channel string          `json:"channel"`
	Token   string          `json:"token"`
	Data    json.RawMessage `json:"data"`
}

// parseRequest reads a frame. The id, which answers repeat, is a number or a string of at most 64 bytes.
func parseRequest(frame []byte) (request, error) {
	var r request
	if !utf8.Valid(frame) {
		return r, errors.New("the frame is not UTF-8")
	}
	if err := json.Unmarshal(frame, &r); err != nil {
		return request{}, errors.New("expected a JSON object with type, and id, route, channel, token and data as the type needs")
	}
	if len(r.ID) > 0 {
		c := r.ID[0]
		if len(r.ID) > 64 || c != '"' && c != '-' && (c < '0' || c > '9') {
			r.ID = nil
			return r, errors.New("id: expected a number or a string of at most 64 bytes")
		}
	}
	return r, nil
}

// appendHead begins a frame: {"id":1,"type":"ok", with neither where they are empty.
func appendHead(b []byte, id json.RawMessage, kind string) []byte {
	b = append(b, '{')
	if len(id) > 0 {
		b = append(append(append(b, `"id":`...), id...), ',')
	}
	return append(append(append(b, `"type":"`...), kind...), '"')
}

func okFrame(id json.RawMessage, channel string) []byte {
	b := appendHead(nil, id, "ok")
	if channel != "" {
		b = appendString(append(b, `,"channel":`...), channel)
	}
	return append(b, '}')
}

func errorFrame(id json.RawMessage, code, message string) []byte {
	b := append(append(appendHead(nil, id, "error"), `,"code":"`...), code...)
	b = appendString(append(b, `","message":`...), message)
	return append(b, '}')
}

// messageFrame is what subscribers of a channel get; channel is empty for what was sent to a user or to everyone.
func messageFrame(channel, payload string) []byte {
	b := make([]byte, 0, len(payload)+len(channel)+48)
	b = appendHead(b, nil, "message")
	if channel != "" {
		b = appendString(append(b, `,"channel":`...), channel)
	}
	return append(appendPayload(b, []byte(payload)), '}')
}

// appendPayload appends JSON as data, and anything else as data_base64.
func appendPayload(b, payload []byte) []byte {
	if json.Valid(payload) {
		return append(append(b, `,"data":`...), payload...)
	}
	b = append(b, `,"data_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, payload), '"')
}

func replyFrame(id json.RawMessage, data []byte) []byte {
	b := append(appendHead(nil, id, "reply"), `,"data":`...)
	if len(data) == 0 {
		data = []byte("null")
	}
	return append(append(b, data...), '}')
}

func goawayFrame(afterMillis int64) []byte {
	b := append(appendHead(nil, nil, "goaway"), `,"reconnect_after_ms":`...)
	return append(strconv.AppendInt(b, afterMillis, 10), '}')
}

func busFrame(up bool) []byte {
	if up {
		return []byte(`{"type":"bus","state":"up"}`)
	}
	return []byte(`{"type":"bus","state":"down"}`)
}

func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		text = []byte(`""`)
	}
	return append(b, text...)
}
