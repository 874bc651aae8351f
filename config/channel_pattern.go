package config

import (
	"fmt"
	"strings"
)

// ChannelPattern is a parsed pattern of channel names: parts one after the other, and any rest where it is open.
type ChannelPattern struct {
	Parts []ChannelPart
	Open  bool
}

// ChannelPart is a piece of a pattern: a text, or a variable whose value the subscriber's identity has.
type ChannelPart struct {
	// Text stands for itself. It is empty for a variable.
	Text string
	// Variable is sub, for the user, or claims.{name}, for a claim.
	Variable string
}

// ParseChannelPattern parses patterns such as room:42, room:*, user:{sub} and org:{claims.org}:*.
//
// A variable ends at the character that follows it in the pattern, or with the name: two variables side by side, and a
// variable right before the *, would leave open where its value ends.
func ParseChannelPattern(s string) (ChannelPattern, error) {
	var p ChannelPattern
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return p, fmt.Errorf("%s has a character in it that no channel has; expected printable ASCII without spaces", quote(s))
		}
	}
	rest, open := strings.CutSuffix(s, "*")
	p.Open = open
	if strings.Contains(rest, "*") {
		return p, fmt.Errorf("%s has a * elsewhere than at its end", quote(s))
	}
	for rest != "" {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			i = len(rest)
		}
		if i > 0 {
			p.Parts = append(p.Parts, ChannelPart{Text: rest[:i]})
			rest = rest[i:]
			continue
		}
		name, after, closed := strings.Cut(rest[1:], "}")
		if rest[0] == '}' || !closed {
			return p, fmt.Errorf("%s has a brace that is not one of a pair", quote(s))
		}
		if claim, ok := strings.CutPrefix(name, "claims."); name != "sub" && (!ok || claim == "" || strings.Contains(claim, "{")) {
			return p, fmt.Errorf("%s has the variable {%s}; expected {sub} or {claims.name}", quote(s), name)
		}
		if n := len(p.Parts); n > 0 && p.Parts[n-1].Variable != "" {
			return p, fmt.Errorf("%s has two variables side by side; put a character between them", quote(s))
		}
		p.Parts = append(p.Parts, ChannelPart{Variable: name})
		rest = after
	}
	if n := len(p.Parts); p.Open && n > 0 && p.Parts[n-1].Variable != "" {
		return p, fmt.Errorf("%s has a variable right before the *; put a character between them", quote(s))
	}
	return p, nil
}
