package wsbridge

import (
	"testing"

	"github.com/crossgate/crossgate/auth"
	"github.com/crossgate/crossgate/config"
)

func TestWhichChannelsFitAPattern(t *testing.T) {
	ann := &auth.Identity{Provider: "main", User: "ann", Claims: map[string]any{
		"org": "acme", "team": 42.0, "groups": []any{"a", "b:c", []any{"nested"}}, "address": map[string]any{"city": "Ghent"},
		"half": 1.5, "big": 1e17, "yes": true, "empty": "", "odd": "x:y",
	}}
	for _, c := range []struct {
		name, pattern, channel string
		want                   bool
	}{
		{"a name is itself", "news", "news", true},
		{"and nothing longer", "news", "newsroom", false},
		{"an open pattern fits any rest", "room:*", "room:a:b", true},
		{"also none", "room:*", "room:", true},
		{"a star alone fits everything", "*", "x", true},
		{"the user's own channel", "user:{sub}", "user:ann", true},
		{"not another's", "user:{sub}", "user:bob", false},
		{"nor one that begins with it", "user:{sub}", "user:annette", false},
		{"nor the variable by its name", "user:{sub}", "user:{sub}", false},
		{"a claim, and any rest", "org:{claims.org}:*", "org:acme:sales", true},
		{"another's claim", "org:{claims.org}:*", "org:umbrella:sales", false},
		{"a claim that the channel's value only begins with", "org:{claims.org}:*", "org:acmecorp:sales", false},
		{"a claim cut short by the separator", "org:{claims.org}:*", "org:acme", false},
		{"a nested claim", "city:{claims.address.city}", "city:Ghent", true},
		{"a whole number", "team:{claims.team}", "team:42", true},
		{"a number written otherwise", "team:{claims.team}", "team:42.0", false},
		{"a number that is not whole", "n:{claims.half}", "n:1.5", false},
		{"a number that JSON may have rounded", "n:{claims.big}", "n:100000000000000000", false},
		{"a truth value", "n:{claims.yes}", "n:true", false},
		{"any element of a list", "g:{claims.groups}", "g:a", true},
		{"an element with the separator in it, at the end of the pattern", "g:{claims.groups}", "g:b:c", true},
		{"an element with the separator in it, before the separator", "g:{claims.groups}:*", "g:b:c:d", false},
		{"a value with the separator in it", "g:{claims.odd}:*", "g:x:y:z", false},
		{"a list in a list", "g:{claims.groups}", "g:nested", false},
		{"an empty value", "e:{claims.empty}", "e:", false},
		{"an empty value before a separator", "e:{claims.empty}:*", "e::x", false},
		{"a claim that is not there", "e:{claims.nothing}", "e:", false},
		{"a claim that is an object", "e:{claims.address}", "e:map[city:Ghent]", false},
		{"two variables", "{claims.org}/{sub}/inbox", "acme/ann/inbox", true},
		{"two variables, one of them wrong", "{claims.org}/{sub}/inbox", "acme/bob/inbox", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rule := compileChannel(&config.Channel{Pattern: c.pattern, Subscribe: "anyone"})
			if got := rule.fits(c.channel, ann); got != c.want {
				t.Errorf("%s fits %s: %v, want %v", c.pattern, c.channel, got, c.want)
			}
		})
	}
	t.Run("nobody has a channel without a name", func(t *testing.T) {
		rule := compileChannel(&config.Channel{Pattern: "user:{sub}", Subscribe: "anyone"})
		for _, channel := range []string{"user:", "user:ann", "user:{sub}"} {
			if rule.fits(channel, auth.Anonymous) {
				t.Errorf("%s fits a session without a user", channel)
			}
		}
	})
}

func TestWhatServicesSaidIsForgotten(t *testing.T) {
	var d decisions
	yes := decision{allow: true}
	d.put(decisionKey{1}, yes, 0)
	if _, ok := d.get(decisionKey{1}); ok {
		t.Error("an answer is kept that was not to be")
	}
	d.put(decisionKey{1}, yes, -uptime()) // over already
	for i := range maxDecisions + 10 {
		d.put(decisionKey{byte(i), byte(i >> 8), byte(i >> 16), 1}, yes, 1<<60)
		if len(d.known) > maxDecisions {
			t.Fatalf("%d answers are kept, more than %d", len(d.known), maxDecisions)
		}
	}
	if said, ok := d.get(decisionKey{byte((maxDecisions + 9) & 0xff), byte((maxDecisions + 9) >> 8), 0, 1}); !ok || !said.allow {
		t.Error("the newest answer is not kept")
	}
}
