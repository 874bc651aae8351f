package wsbridge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// Subprotocol is the WebSocket subprotocol of envelopes in JSON.
const Subprotocol = "crossgate.v1.json"

const (
	// maxID, maxClient, maxRoute, maxChannel, maxEpoch and maxNext bound what a client names, in bytes.
	maxID      = 64
	maxClient  = 64
	maxRoute   = 255
	maxChannel = 255
	maxEpoch   = 64
	maxNext    = 255
	// maxDepth bounds the nesting of a frame, which services parse with whatever parser they have.
	maxDepth = 128
)

// request is a frame from a client. Its slices are the frame's own: what outlives the frame is copied.
type request struct {
	ID      json.RawMessage
	Type    string
	Route   string
	Channel string
	Token   string
	Client  string
	Data    json.RawMessage
	Bytes   []byte // of data_base64; nil without it
	Epoch   string
	Offset  uint64
	page    *pageRequest     // of presence; nil where nothing is said of it
	info    *json.RawMessage // what the service says of the connection in the channel; nil for nothing
	seen    fields
}

// pageRequest is what of a channel's presence is asked for.
type pageRequest struct {
	limit int
	next  string
	count bool // of count_only
}

// clone returns a copy that outlives the frame.
func (r *request) clone() request {
	c := *r
	c.ID, c.Data, c.Bytes = bytes.Clone(r.ID), bytes.Clone(r.Data), bytes.Clone(r.Bytes)
	return c
}

// parseRequest reads a frame of valid UTF-8. It is strict: a member that is not of the protocol, or is there twice, is an
// error. The id is read also where the rest is in error, if it comes before it.
func parseRequest(frame []byte) (request, error) {
	var r request
	if !json.Valid(frame) {
		return r, errors.New("expected one JSON object")
	}
	// The frame is valid JSON from here on: only its shape is in question.
	s := members{b: frame}
	if !s.open() {
		return r, errors.New("expected one JSON object")
	}
	for {
		name, value, ok, err := s.next()
		if err != nil || !ok {
			return r, err
		}
		field, known := fieldOf[string(name)]
		if !known {
			return r, errors.New("there is a member that is not of the protocol")
		}
		if r.seen&field != 0 {
			return r, fmt.Errorf("%s is there twice", name)
		}
		r.seen |= field
		if err := r.set(field, value); err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// fields is a set of members.
type fields uint16

const (
	fieldID fields = 1 << iota
	fieldType
	fieldRoute
	fieldChannel
	fieldToken
	fieldData
	fieldBytes
	fieldEpoch
	fieldOffset
	fieldLimit
	fieldNext
	fieldCount
	fieldClient
)

var fieldOf = map[string]fields{
	"id": fieldID, "type": fieldType, "route": fieldRoute, "channel": fieldChannel, "token": fieldToken,
	"data": fieldData, "data_base64": fieldBytes, "epoch": fieldEpoch, "offset": fieldOffset,
	"limit": fieldLimit, "next": fieldNext, "count_only": fieldCount,
	"client": fieldClient,
}

// from returns where a subscription is to go on, nil where the client does not say.
func (r *request) from() *bus.Position {
	if r.seen&fieldEpoch == 0 {
		return nil
	}
	return &bus.Position{Epoch: r.Epoch, Offset: r.Offset}
}

func (r *request) set(field fields, value []byte) (err error) {
	switch field {
	case fieldID:
		c := value[0]
		if len(value) > maxID || c != '"' && c != '-' && (c < '0' || c > '9') {
			return fmt.Errorf("expected a number or a string of at most %d bytes", maxID)
		}
		r.ID = value
	case fieldType:
		r.Type, err = text(value)
	case fieldRoute:
		r.Route, err = text(value)
		if len(r.Route) > maxRoute {
			return fmt.Errorf("expected at most %d bytes", maxRoute)
		}
	case fieldChannel:
		r.Channel, err = text(value)
	case fieldToken:
		r.Token, err = text(value)
	case fieldClient:
		if r.Client, err = text(value); err == nil && (r.Client == "" || len(r.Client) > maxClient) {
			return fmt.Errorf("expected 1 to %d bytes", maxClient)
		}
	case fieldData:
		r.Data = value
	case fieldBytes:
		var s string
		if s, err = text(value); err == nil {
			if r.Bytes, err = base64.StdEncoding.DecodeString(s); err != nil {
				return errors.New("expected base64 with padding (RFC 4648 section 4)")
			}
		}
	case fieldEpoch:
		if r.Epoch, err = text(value); err == nil && (r.Epoch == "" || len(r.Epoch) > maxEpoch) {
			return fmt.Errorf("expected 1 to %d bytes", maxEpoch)
		}
	case fieldOffset:
		if r.Offset, err = strconv.ParseUint(string(value), 10, 53); err != nil {
			return errors.New("expected a whole number below 2^53")
		}
	case fieldLimit:
		r.page = r.paged()
		if r.page.limit, err = strconv.Atoi(string(value)); err != nil || r.page.limit < 1 {
			return errors.New("expected a whole number above 0")
		}
	case fieldNext:
		r.page = r.paged()
		if r.page.next, err = text(value); err == nil && len(r.page.next) > maxNext {
			return fmt.Errorf("expected at most %d bytes", maxNext)
		}
	case fieldCount:
		r.page = r.paged()
		if r.page.count = value[0] == 't'; !r.page.count && value[0] != 'f' {
			return errors.New("expected true or false")
		}
	}
	return err
}

// paged returns the request's page, a new one where it has none.
func (r *request) paged() *pageRequest {
	if r.page == nil {
		return new(pageRequest)
	}
	return r.page
}

// text reads a JSON string.
func text(value []byte) (string, error) {
	if value[0] != '"' {
		return "", errors.New("expected a string")
	}
	for _, c := range value {
		if c == '\\' {
			var s string
			err := json.Unmarshal(value, &s)
			return s, err
		}
	}
	return string(value[1 : len(value)-1]), nil
}

// members walks the members of an object in valid JSON.
type members struct {
	b []byte
	i int
}

func (s *members) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// open steps into the object, and reports false where there is none.
func (s *members) open() bool {
	s.space()
	if s.b[s.i] != '{' {
		return false
	}
	s.i++
	return true
}

// next returns the next member; a name that is written with escapes comes as it is written. ok is false at the end.
func (s *members) next() (name, value []byte, ok bool, err error) {
	s.space()
	if s.b[s.i] == ',' {
		s.i++
		s.space()
	}
	if s.b[s.i] == '}' {
		return nil, nil, false, nil
	}
	start := s.i
	s.skipString()
	name = s.b[start+1 : s.i-1]
	s.space()
	s.i++ // the colon
	s.space()
	start = s.i
	if !s.skipValue() {
		return nil, nil, false, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	return name, s.b[start:s.i], true, nil
}

func (s *members) skipString() {
	for s.i++; s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			s.i++
		}
	}
	s.i++
}

// skipValue reports false when the value is nested too deep.
func (s *members) skipValue() bool {
	depth := 1 // of the object that has the member
	for {
		switch s.b[s.i] {
		case '"':
			s.skipString()
		case '{', '[':
			s.i++
			if depth++; depth > maxDepth {
				return false
			}
			continue
		case '}', ']':
			s.i++
			depth--
		case ',', ':', ' ', '\n', '\t', '\r':
			s.i++
			continue
		default:
			s.skipScalar()
		}
		if depth == 1 {
			return true
		}
	}
}

func (s *members) skipScalar() {
	for {
		switch s.b[s.i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return
		}
		s.i++
	}
}
