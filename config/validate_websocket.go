package config

import (
	"fmt"
	"strings"
)

func (v *validator) webSocket(w *WebSocketRoute) {
	v.check(&w.Service, w.Pos, "service", checkName(w.Service))
	v.words(w.Origins, w.Pos, "origins", checkOrigin)
	for i := range w.Channels {
		v.channel(&w.Channels[i], w.Channels[:i])
	}
	v.words(w.Subscribe, w.Pos, "subscribe", checkChannelName)
	v.rateLimits(w.MessageRateLimits, ofMessages)
	v.authorizeMessages(w.AuthorizeMessages)
}

func (v *validator) authorizeMessages(a *Authorize) {
	if a == nil {
		return
	}
	v.authorize(a)
	const silent = "dry_run: what it would have denied of messages is reported nowhere"
	if a.DryRun {
		v.errorf(v.at(&a.DryRun, a.Pos), silent)
	}
	for i := range a.Rules {
		if r := &a.Rules[i]; r.DryRun {
			v.errorf(v.at(&r.DryRun, r.Pos), silent)
		}
	}
}

func (v *validator) channel(c *Channel, before []Channel) {
	if _, err := ParseChannelPattern(c.Pattern); err != nil {
		v.check(&c.Pattern, c.Pos, "pattern", err)
		return
	}
	for _, b := range before {
		if covers(b.Pattern, c.Pattern) {
			v.errorf(v.at(&c.Pattern, c.Pos), "pattern: %s is never reached: %s before it, at %s, fits all of it", quote(c.Pattern), quote(b.Pattern), b.Pos)
			break
		}
	}
	if p := c.Presence; p != nil && len(p.Roles) > 0 && p.Read == "nobody" {
		v.errorf(v.at(&p.Roles, p.Pos), "roles: nobody reads, whatever the roles")
	}
	if len(c.Roles) > 0 && (c.Subscribe == "anyone" || c.Subscribe == "nobody") {
		v.errorf(v.at(&c.Roles, c.Pos), "roles: only subscribers that are authenticated have roles, but subscribe is %s", c.Subscribe)
	}
}

// checkChannelName is for a pattern that makes names.
func checkChannelName(s string) error {
	pattern, err := ParseChannelPattern(s)
	switch {
	case err != nil:
		return err
	case len(s) > 255:
		return fmt.Errorf("%s is longer than a channel's name may be, 255 characters", quote(s))
	case pattern.Open:
		return fmt.Errorf("%s has a *; expected the name of one channel", quote(s))
	}
	return nil
}

// covers reports whether every channel of pattern b is one of a's, whoever subscribes.
func covers(a, b string) bool {
	prefix, open := strings.CutSuffix(a, "*")
	open = open && !strings.Contains(a, "{")
	return a == b || open && strings.HasPrefix(b, prefix)
}
