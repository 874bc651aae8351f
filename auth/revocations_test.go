package auth

import (
	"testing"
	"time"
)

func TestWhatARevocationRefuses(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	later := now.Add(time.Hour)
	issued := func(user, jti string, at time.Time) *Identity {
		return &Identity{Provider: "main", User: user, Claims: map[string]any{"jti": jti, "iat": float64(at.Unix())}}
	}
	old := now.Add(-time.Minute)
	for _, c := range []struct {
		name    string
		revoked Revocation
		id      *Identity
		want    bool
	}{
		{"an old token of the user", Revocation{User: "ann", Before: now, Until: later}, issued("ann", "", old), true},
		{"a token of the very second", Revocation{User: "ann", Before: now.Add(time.Millisecond), Until: later}, issued("ann", "", now), true},
		{"a token that was issued after", Revocation{User: "ann", Before: now, Until: later}, issued("ann", "", now.Add(time.Second)), false},
		{"a token that does not say when", Revocation{User: "ann", Before: now, Until: later}, &Identity{Provider: "main", User: "ann", Claims: map[string]any{}}, true},
		{"an API key", Revocation{User: "ann", Before: now, Until: later}, &Identity{Provider: "keys", User: "ann", KeyID: "k"}, true},
		{"another user's token", Revocation{User: "ann", Before: now, Until: later}, issued("bob", "", old), false},
		{"a revocation that is over", Revocation{User: "ann", Before: now, Until: old}, issued("ann", "", old), false},
		{"the token itself", Revocation{TokenID: "t1", Until: later}, issued("ann", "t1", old), true},
		{"another token", Revocation{TokenID: "t1", Until: later}, issued("ann", "t2", old), false},
		{"a token without an id", Revocation{TokenID: "t1", Until: later}, issued("ann", "", old), false},
		{"a user whose name is the token's id", Revocation{TokenID: "ann", Until: later}, issued("ann", "t1", old), false},
		{"nobody at all", Revocation{User: "ann", Before: now, Until: later}, Anonymous, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Revocations
			if r.Refuses(c.id) {
				t.Fatal("refused before anything is revoked")
			}
			r.Add(c.revoked)
			if got := r.Refuses(c.id); got != c.want {
				t.Errorf("refused: %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheLaterOfTwoRevocationsCounts(t *testing.T) {
	now := time.Now()
	id := &Identity{Provider: "main", User: "ann", Claims: map[string]any{"iat": float64(now.Add(-time.Minute).Unix())}}
	first := Revocation{User: "ann", Before: now, Until: now.Add(time.Hour)}
	earlier := Revocation{User: "ann", Before: now.Add(-time.Hour), Until: now.Add(time.Minute)}
	var r Revocations
	r.Add(first)
	r.Merge([]Revocation{earlier})
	if !r.Refuses(id) {
		t.Error("a token that was revoked is taken again")
	}
	r.users["ann"] = Revocation{User: "ann", Before: now, Until: now.Add(-time.Second)}
	r.Merge(nil)
	if r.Refuses(id) || len(r.users) > 0 || r.some.Load() {
		t.Error("what is over is kept")
	}
}

func TestAskingForRevocationsAllocatesNothing(t *testing.T) {
	id := &Identity{Provider: "main", User: "ann", Claims: map[string]any{"jti": "t", "iat": 1.0}}
	var r Revocations
	r.Add(Revocation{User: "bob", Before: time.Now(), Until: time.Now().Add(time.Hour)})
	if n := testing.AllocsPerRun(100, func() { r.Refuses(id) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
