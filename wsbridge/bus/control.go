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
)

// Control is a command to every node.
type Control struct {
	Type    string    `json:"type"`
	User    string    `json:"user,omitempty"`
	TokenID string    `json:"token_id,omitempty"`
	Before  time.Time `json:"before,omitzero"`
	Until   time.Time `json:"until,omitzero"`
}

// ParseControl reads a command.
func ParseControl(raw []byte) (*Control, error) {
	var c Control
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("bus: control: %w", err)
	}
	return &c, nil
}
