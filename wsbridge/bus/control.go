package bus

import (
	"encoding/json"
	"fmt"
	"time"
)

// The types of a Control.
const (
	// Revoke tells of a revocation that is kept already.
	Revoke = "revoke"
	// Close closes a connection, or all of a user's.
	Close = "close"
	// Send sends to a connection, wherever it is.
	Send = "send"
	// List asks for connections.
	List = "list"
	// Post brings what the client of an event stream has sent to another node.
	Post = "post"
	// Answer is what a node says to a command with a Query.
	Answer = "answer"
)

// Control is a command to every node, or to one, or a node's answer.
type Control struct {
	Type string `json:"type"`
	// Query is repeated by the answer, which goes to ReplyTo. Without them there is none.
	Query   string `json:"query,omitempty"`
	ReplyTo string `json:"reply_to,omitempty"`

	// Connection or User is whom a Close, Send or List is about.
	Connection string `json:"connection,omitempty"`
	User       string `json:"user,omitempty"`
	// Code and Reason are told to the client, of a Close.
	Code   int    `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Data or DataBase64 is the payload of a Send.
	Data       json.RawMessage `json:"data,omitempty"`
	DataBase64 []byte          `json:"data_base64,omitempty"`
	// TokenID or User is what a Revoke refuses.
	TokenID string    `json:"token_id,omitempty"`
	Before  time.Time `json:"before,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	// Limit is the most connections that a List returns, of those whose id comes after After.
	Limit int    `json:"limit,omitempty"`
	After string `json:"after,omitempty"`
	// Channel is a channel that the connections of a List subscribe to.
	Channel string `json:"channel,omitempty"`
	// Session is whose POST a Post is, which came by Route from User, whom Provider knows, with DataBase64 as its body. Sequence is
	// 0 where it had none.
	Session  string `json:"session,omitempty"`
	Route    string `json:"route,omitempty"`
	Provider string `json:"provider,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`

	// Fault and Message are why a Post was refused.
	Fault   string `json:"fault,omitempty"`
	Message string `json:"message,omitempty"`
	// Node, Count and Connections are an answer: who says it, how many connections it was about, and which.
	Node        string       `json:"node,omitempty"`
	Count       int          `json:"count,omitempty"`
	Connections []Connection `json:"connections,omitempty"`
}

// Connection describes an open connection.
type Connection struct {
	ID        string    `json:"connection"`
	Node      string    `json:"node"`
	Route     string    `json:"route"`
	User      string    `json:"user,omitempty"`
	Provider  string    `json:"provider,omitempty"`
	Roles     []string  `json:"roles,omitempty"`
	Address   string    `json:"address"`
	Transport string    `json:"transport"`
	Connected time.Time `json:"connected"`
	Expires   time.Time `json:"expires,omitzero"`
	Channels  []string  `json:"channels,omitempty"`
	Queued    int       `json:"queued"`
}

// ParseControl reads a command.
func ParseControl(raw []byte) (*Control, error) {
	var c Control
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("bus: control: %w", err)
	}
	return &c, nil
}
