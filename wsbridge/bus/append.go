package bus

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// Append appends the envelope as JSON. Claims and Data must be valid JSON, as they are where this package or a session
// has read them: they are copied as they stand.
func (m *Inbound) Append(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"v":`...), int64(m.V), 10)
	b = AppendString(append(b, `,"id":`...), m.ID)
	b = AppendString(append(b, `,"type":`...), m.Type)
	b = AppendString(append(b, `,"connection":`...), m.Connection)
	if m.User != "" {
		b = AppendString(append(b, `,"user":`...), m.User)
	}
	if len(m.Claims) > 0 {
		b = append(append(b, `,"claims":`...), m.Claims...)
	}
	if m.Route != "" {
		b = AppendString(append(b, `,"route":`...), m.Route)
	}
	if m.Channel != "" {
		b = AppendString(append(b, `,"channel":`...), m.Channel)
	}
	if len(m.Data) > 0 {
		b = append(append(b, `,"data":`...), m.Data...)
	}
	if m.DataBase64 != nil {
		b = AppendBase64(append(b, `,"data_base64":`...), m.DataBase64)
	}
	if m.Code != 0 {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(m.Code), 10)
	}
	b = AppendString(append(b, `,"reply_to":`...), m.ReplyTo)
	b = m.Time.AppendFormat(append(b, `,"time":"`...), time.RFC3339Nano)
	return append(b, `"}`...)
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil {
				panic("bus: a string has no JSON form: " + err.Error()) // there is no such string
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// AppendBase64 appends data as a JSON string in base64.
func AppendBase64(b, data []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), data), '"')
}
