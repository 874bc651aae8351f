package wsbridge

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

// decision is what a service said of a subscription.
type decision struct {
	allow        bool
	code, reason string // of a no
	info         *json.RawMessage
}

// decisionOf reads a service's answer: yes is {"allow":true} and nothing else, so that an answer to something else is
// none.
func decisionOf(o *bus.Outbound) decision {
	if o.Error != nil {
		return decision{code: errorCode(o.Error.Code), reason: o.Error.Message}
	}
	var answer struct {
		Allow bool             `json:"allow"`
		Info  *json.RawMessage `json:"info"`
	}
	if json.Unmarshal(o.Data, &answer) == nil && answer.Allow {
		if answer.Info != nil && len(*answer.Info) > maxInfo {
			answer.Info = &json.RawMessage{} // which is not shown
		}
		return decision{allow: true, info: answer.Info}
	}
	return decision{code: codePermissionDenied, reason: "the service does not allow this subscription"}
}

// final reports whether the service would say the same again.
func (d decision) final() bool { return d.allow || d.code == codePermissionDenied }

// decisionKey names a question: who asks, with which claims, for which channel.
type decisionKey [sha256.Size]byte

// decisionKey returns the zero key where an answer must not be kept: of anonymous sessions the service may tell one from
// another.
func (s *session) decisionKey(channel string) decisionKey {
	id := s.ticket.Identity
	if !id.Authenticated() || id.User == "" {
		return decisionKey{}
	}
	b := append([]byte(id.Provider), 0)
	b = append(append(b, id.User...), 0)
	b = append(append(b, channel...), 0) // no channel has that byte
	return sha256.Sum256(append(b, s.claims...))
}

// maxDecisions bounds what a route remembers.
const maxDecisions = 16 << 10

// decisions remember what services said. The zero value is ready to use.
type decisions struct {
	mu    sync.Mutex
	known map[decisionKey]knownDecision
}

type knownDecision struct {
	decision
	until time.Duration // as uptime
}

func (d *decisions) get(key decisionKey) (decision, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.known[key]
	if !ok || uptime() >= k.until {
		return decision{}, false
	}
	return k.decision, true
}

func (d *decisions) put(key decisionKey, said decision, ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[decisionKey]knownDecision{}
	}
	if len(d.known) >= maxDecisions {
		d.forget()
	}
	d.known[key] = knownDecision{said, uptime() + ttl}
}

// forget makes room: what is over goes, or everything where nothing is.
func (d *decisions) forget() {
	now := uptime()
	for key, k := range d.known {
		if now >= k.until {
			delete(d.known, key)
		}
	}
	if len(d.known) >= maxDecisions {
		clear(d.known)
	}
}
