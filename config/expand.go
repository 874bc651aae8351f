package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} by the environment's value, ${NAME:-default} by it or, where it is unset or empty, by the
// default, and $$ by a dollar. Any other dollar stands for itself. What comes from the environment is taken as it is:
// it is looked at neither for variables nor for YAML.
func expand(s string, env func(string) (string, bool)) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			s = rest[1:]
		case strings.HasPrefix(rest, "{"):
			variable, after, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return "", fmt.Errorf("${ has no closing }; write $$ for a dollar")
			}
			value, err := lookup(variable, env)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			s = after
		default:
			b.WriteByte('$')
			s = rest
		}
	}
}

func lookup(variable string, env func(string) (string, bool)) (string, error) {
	name, fallback, hasFallback := strings.Cut(variable, ":-")
	if !isVariableName(name) {
		// The name is not repeated: it may be part of a secret with a dollar in it.
		return "", fmt.Errorf("${ must be followed by the name of an environment variable and }; write $$ for a dollar")
	}
	value, set := env(name)
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !set:
		return "", fmt.Errorf("environment variable %s is not set; set it, or write ${%s:-default}", name, name)
	}
	return value, nil
}

func isVariableName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && !isLetter(c) && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
