package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	// attemptTime is how long a browser may take at the provider.
	attemptTime = 10 * time.Minute
	// attemptSlots is how many logins of a browser, one for each tab, may be under way. Each has a cookie with a number for
	// its name, so that there are never more, however many begin at once.
	attemptSlots = 10
	// maxAttempts bounds their cookies together, in bytes, where they begin one after another: proxies commonly take 8 KiB for
	// a header, and the page's other cookies are there too. The oldest logins give way.
	maxAttempts = 4 << 10
	// maxBack bounds the path that a browser comes back to; a longer one is /.
	maxBack       = 1024
	sealedAttempt = "attempt "
)

// attempt is a login that has begun. The browser itself keeps it, sealed: nothing is stored for whoever asks.
type attempt struct {
	state    string
	nonce    string
	verifier string
	back     string
	ends     int64 // Unix seconds
	slot     int
}

func (l *Login) newAttempt(back string) *attempt {
	return &attempt{
		state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier(), back: ownPath(back),
		ends: l.sessions.now().Add(attemptTime).Unix(),
	}
}

// ownPath returns back if it is a path of this origin, whatever reads it. Browsers send nothing but ASCII.
func ownPath(back string) string {
	if len(back) > maxBack || !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") ||
		strings.ContainsFunc(back, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }) {
		return "/"
	}
	return back
}

func (l *Login) attemptCookie(slot int) string { return l.cookie + "-" + strconv.Itoa(slot) }

// keepAttempt returns the cookies that keep an attempt: in a slot that is free or, where none is, of the oldest; and that let go of
// the oldest where all together would take too much.
func (l *Login) keepAttempt(a *attempt, cookie func(name string) string) []*http.Cookie {
	var free []int
	var begun []*attempt
	size := map[int]int{}
	total := 0
	for slot := range attemptSlots {
		value := cookie(l.attemptCookie(slot))
		if one, ok := l.openAttempt(slot, value); ok && l.sessions.now().Unix() < one.ends {
			begun = append(begun, one)
			size[slot] = len(value)
			total += len(value)
		} else {
			free = append(free, slot)
		}
	}
	var cookies []*http.Cookie
	oldest := func() int {
		i := 0
		for j := range begun {
			if begun[j].ends < begun[i].ends {
				i = j
			}
		}
		slot := begun[i].slot
		begun = append(begun[:i], begun[i+1:]...)
		total -= size[slot]
		return slot
	}
	if len(free) == 0 {
		free = append(free, oldest())
	}
	// Any of those that are free: tabs that a browser opens together all find the same ones.
	a.slot = free[mathrand.IntN(len(free))]
	text := strings.Join([]string{a.state, a.nonce, a.verifier, strconv.FormatInt(a.ends, 10), a.back}, "\n")
	value := base64.RawURLEncoding.EncodeToString(l.sessions.store.keys.seal(sealedAttempt+strconv.Itoa(a.slot), []byte(text)))
	for total += len(value); total > maxAttempts && len(begun) > 0; {
		cookies = append(cookies, l.keep(l.attemptCookie(oldest()), "", 0))
	}
	return append(cookies, l.keep(l.attemptCookie(a.slot), value, attemptTime))
}

// readAttempt returns the attempt that the provider's answer belongs to.
func (l *Login) readAttempt(state string, cookie func(name string) string) (*attempt, bool) {
	for slot := range attemptSlots {
		one, ok := l.openAttempt(slot, cookie(l.attemptCookie(slot)))
		if ok && subtle.ConstantTimeCompare([]byte(one.state), []byte(state)) == 1 {
			return one, l.sessions.now().Unix() < one.ends
		}
	}
	return nil, false
}

func (l *Login) openAttempt(slot int, value string) (*attempt, bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || value == "" {
		return nil, false
	}
	text, ok := l.sessions.store.keys.open(sealedAttempt+strconv.Itoa(slot), sealed)
	parts := strings.Split(string(text), "\n") // none of which has one
	if !ok || len(parts) != 5 {
		return nil, false
	}
	ends, err := strconv.ParseInt(parts[3], 10, 64)
	return &attempt{state: parts[0], nonce: parts[1], verifier: parts[2], ends: ends, back: parts[4], slot: slot}, err == nil
}
