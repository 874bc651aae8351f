package demo

import (
	"crypto/sha256"
	_ "embed" // the page's files
	"encoding/base64"
	"strings"
	"sync"
)

//go:embed page/index.html
var pageHTML string

//go:embed page/chat.css
var pageStyle string

//go:embed page/chat.js
var pageScript string

// Page returns the chat page: one HTML document that loads nothing but crossgate.js beside it, and speaks WebSocket to ws
// beside it.
// Its Content-Security-Policy allows that and nothing more. The result must not be changed.
func Page() []byte { return page() }

var page = sync.OnceValue(func() []byte {
	policy := strings.Join([]string{
		"default-src 'none'",
		"style-src " + hashSource(pageStyle),
		"script-src 'self' " + hashSource(pageScript),
		"connect-src 'self'",
		"img-src data:",
		"base-uri 'none'",
		"form-action 'none'",
	}, "; ")
	return []byte(strings.NewReplacer("@policy@", policy, "@style@", pageStyle, "@script@", pageScript).Replace(pageHTML))
})

// hashSource names an inline element by its content, as CSP does.
func hashSource(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
