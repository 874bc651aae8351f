package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep a token's JSON is nested. Real ones have four levels.
const maxDepth = 16

var base64url = base64.RawURLEncoding.Strict()

// segments reads the header and the claims of a token whose signature has not been looked at. Of two readings that a token
// might have none is taken: a key that comes twice at any level, base64url that is not canonical, and text after the
// object, or that is no UTF-8, are refused (RFC 8725 section 2.4, RFC 7519 section 4).
func segments(token string) (header, claims map[string]any, err error) {
	if strings.Count(token, ".") == 4 {
		return nil, nil, &notMine{"the token is encrypted, which is not accepted"}
	}
	first, rest, _ := strings.Cut(token, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if header = object(first); !ok || header == nil || strings.Contains(signature, ".") {
		return nil, nil, &notMine{"the credential is not a JSON Web Token"}
	}
	if claims = object(payload); claims == nil {
		return nil, nil, errors.New("the token's claims are malformed, or have a key twice")
	}
	return header, claims, nil
}

// object decodes one segment; nil for one that is no such object.
func object(segment string) map[string]any {
	raw, err := base64url.DecodeString(segment)
	if err != nil || strings.ContainsAny(segment, "\r\n") { // which the decoder skips
		return nil
	}
	return parseObject(raw)
}

// parseObject decodes an object that somebody else has made; nil for anything else, and for what can be read in two ways.
func parseObject(raw []byte) map[string]any {
	if !utf8.Valid(raw) { // RFC 8259 section 8.1; a decoder makes one name of many
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') || !unique(d, '{', 1) || d.More() {
		return nil
	}
	var m map[string]any
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// unique reads to the end of the object or list that d is in, and reports whether no object in it has a key twice.
func unique(d *json.Decoder, in json.Delim, depth int) bool {
	if depth > maxDepth {
		return false
	}
	seen := map[string]bool{}
	for d.More() {
		if in == '{' {
			key, err := d.Token()
			name, ok := key.(string)
			if err != nil || !ok || seen[name] {
				return false
			}
			seen[name] = true
		}
		value, err := d.Token()
		if err != nil {
			return false
		}
		if open, ok := value.(json.Delim); ok && !unique(d, open, depth+1) {
			return false
		}
	}
	_, err := d.Token()
	return err == nil
}
