package wsbridge

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
	"github.com/crossgate/crossgate/wsbridge/bus"
)

// channelRule is what holds for the channels of a pattern.
type channelRule struct {
	parts       []channelPart
	open        bool // any rest fits
	allow       allow
	roles       []string
	decisionTTL time.Duration
	history     bus.History // of size 0 where nothing is kept
	presence    *presenceRule
}

// channelPart is a text, or a variable with the byte that ends its value; 0 for the end of the name.
type channelPart struct {
	text  string
	value func(*auth.Identity) any
	ends  byte
}

// allow is who may subscribe.
type allow uint8

const (
	allowNobody allow = iota
	allowAnyone
	allowAuthenticated
	allowToken
	allowService
)

var allowOf = map[string]allow{
	"nobody": allowNobody, "anyone": allowAnyone, "authenticated": allowAuthenticated, "token": allowToken, "service": allowService,
}

func compileChannel(cfg *config.Channel) channelRule {
	c := channelRule{allow: allowOf[cfg.Subscribe], roles: cfg.Roles, decisionTTL: cfg.DecisionTTL.Std()}
	if h := cfg.History; h != nil {
		c.history = bus.History{Size: h.Size, TTL: h.TTL.Std()}
	}
	if p := cfg.Presence; p != nil {
		c.presence = compilePresence(p)
	}
	c.parts, c.open = compilePattern(cfg.Pattern)
	return c
}

func compilePattern(text string) (parts []channelPart, open bool) {
	pattern, err := config.ParseChannelPattern(text)
	if err != nil {
		panic("wsbridge: a pattern was not validated: " + err.Error())
	}
	for i, p := range pattern.Parts {
		part := channelPart{text: p.Text}
		if p.Variable != "" {
			part.value = variable(p.Variable)
			if i+1 < len(pattern.Parts) {
				part.ends = pattern.Parts[i+1].Text[0]
			}
		}
		parts = append(parts, part)
	}
	return parts, pattern.Open
}

// variable returns what finds the value of a pattern's variable.
func variable(name string) func(*auth.Identity) any {
	path, ok := strings.CutPrefix(name, "claims.")
	if !ok {
		return func(id *auth.Identity) any { return id.User }
	}
	return func(id *auth.Identity) any {
		v, _ := id.Claim(path)
		return v
	}
}

// fits reports whether a channel is one of the rule's, for an identity.
func (c *channelRule) fits(channel string, id *auth.Identity) bool {
	return fits(c.parts, c.open, channel, id)
}

func fits(parts []channelPart, open bool, rest string, id *auth.Identity) bool {
	for i := range parts {
		p := &parts[i]
		if p.value == nil {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, p.text); !ok {
				return false
			}
			continue
		}
		after := ""
		if p.ends != 0 {
			end := strings.IndexByte(rest, p.ends)
			if end < 0 {
				return false
			}
			rest, after = rest[:end], rest[end:]
		}
		// The whole of what stands there is the value, up to the byte that ends it: a value which has that byte in it
		// fits nothing, and so nobody's value can be the beginning of another one's.
		if !isValue(p.value(id), rest) {
			return false
		}
		rest = after
	}
	return open || rest == ""
}

// fitsAnyone reports whether a channel is one of the rule's for some identity.
func (c *channelRule) fitsAnyone(rest string) bool {
	for i := range c.parts {
		p := &c.parts[i]
		if p.value == nil {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, p.text); !ok {
				return false
			}
			continue
		}
		end := len(rest)
		if p.ends != 0 {
			end = strings.IndexByte(rest, p.ends)
		}
		if end <= 0 {
			return false
		}
		rest = rest[end:]
	}
	return c.open || rest == ""
}

// History returns how much the route keeps of a channel; of size 0 where it keeps nothing.
func (r *Route) History(channel string) bus.History {
	for i := range r.channels {
		if c := &r.channels[i]; c.fitsAnyone(channel) {
			return c.history
		}
	}
	return bus.History{}
}

// isValue reports whether a text is an identity's value, or one of its values.
func isValue(v any, text string) bool {
	if text == "" {
		return false
	}
	switch v := v.(type) {
	case string:
		return v == text
	case float64:
		number, whole := wholeNumber(v)
		return whole && number == text
	case []any:
		return slices.ContainsFunc(v, func(one any) bool {
			_, list := one.([]any)
			return !list && isValue(one, text)
		})
	}
	return false
}

// wholeNumber writes a claim that is one. Claims are JSON: beyond 2^53 two numbers may be read as one.
func wholeNumber(v float64) (string, bool) {
	return strconv.FormatInt(int64(v), 10), v > -1<<53 && v < 1<<53 && v == float64(int64(v))
}

// ValidChannel reports whether a name may be a channel's: 1 to 255 bytes, printable ASCII without spaces and braces, which
// would take a channel and its history to different slots of a Redis Cluster.
func ValidChannel(name string) bool {
	if name == "" || len(name) > maxChannel {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '{' || c == '}' {
			return false
		}
	}
	return true
}
