package bus

import (
	"encoding/json"
	"fmt"
	"time"
)

// Version is the version of the contract that envelopes carry as v.
const Version = 1

// MaxPayload bounds what a service publishes: a payload for many, or an envelope for one. Beyond it, it is dropped.
const MaxPayload = 8 << 20

// The types of an inbound envelope.
const (
	Connect    = "connect"
	Message    = "message"
	Disconnect = "disconnect"
	// Subscribe asks whether the connection may subscribe to a channel.
	Subscribe = "subscribe"
)

// Inbound is an envelope from a gateway to a service.
type Inbound struct {
	V          int             `json:"v"`
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Connection string          `json:"connection"`
	User       string          `json:"user,omitempty"`
	Claims     json.RawMessage `json:"claims,omitempty"`
	Route      string          `json:"route,omitempty"`
	Channel    string          `json:"channel,omitempty"` // of a subscribe
	Data       json.RawMessage `json:"data,omitempty"`
	DataBase64 []byte          `json:"data_base64,omitempty"` // of a binary frame, in place of Data
	Code       int             `json:"code,omitempty"`        // the close code, of a disconnect
	ReplyTo    string          `json:"reply_to"`
	Time       time.Time       `json:"time"`
}

// Outbound is an envelope from a service to one connection.
type Outbound struct {
	Connection string          `json:"connection"`
	InReplyTo  string          `json:"in_reply_to,omitempty"` // the id of the envelope it answers
	Data       json.RawMessage `json:"data,omitempty"`
	DataBase64 []byte          `json:"data_base64,omitempty"` // for a binary frame, in place of Data
	Error      *ReplyError     `json:"error,omitempty"`       // an answer that is an error
	Close      *Closing        `json:"close,omitempty"`       // ends the connection, after the payload where there is one
}

// Closing is how a connection is closed.
type Closing struct {
	Code   int    `json:"code,omitempty"` // 1000, or 3000 to 4999; anything else is 4005
	Reason string `json:"reason,omitempty"`
}

// HasPayload reports whether there is something for the client besides the close.
func (o *Outbound) HasPayload() bool {
	return o.Close == nil || o.InReplyTo != "" || o.Data != nil || o.DataBase64 != nil || o.Error != nil
}

// Welcome is the data of the answer to a connect, where the route asks about connections.
type Welcome struct {
	// Allow lets the client stay.
	Allow bool `json:"allow"`
	// Code and Reason are what the connection is closed with, where it may not: 4004 unless said.
	Code   int    `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Subscribe are the channels that the connection is subscribed to.
	Subscribe []string `json:"subscribe,omitempty"`
	// Info is what others are shown of the connection, in channels with presence.
	Info json.RawMessage `json:"info,omitempty"`
}

// ReplyError is a service's error, as the client gets it.
type ReplyError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// ParseInbound reads an envelope of a version that this code understands.
func ParseInbound(raw []byte) (*Inbound, error) {
	var m Inbound
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("bus: inbound envelope: %w", err)
	}
	if m.V != Version {
		return nil, fmt.Errorf("bus: inbound envelope has v %d, expected %d", m.V, Version)
	}
	return &m, nil
}

// ParseOutbound reads an envelope for a connection.
func ParseOutbound(raw []byte) (*Outbound, error) {
	var m Outbound
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("bus: outbound envelope: %w", err)
	}
	if m.Connection == "" {
		return nil, fmt.Errorf("bus: outbound envelope has no connection")
	}
	return &m, nil
}

func (e *ReplyError) Error() string { return e.Code + ": " + e.Message }
