package demo

import (
	"slices"
	"time"

	"github.com/crossgate/crossgate/wsbridge/bus"
)

const (
	maxRooms   = 1000
	maxMembers = 1000 // of a room
	maxHistory = 50   // events that a room keeps
	// maxShown is how many of a room's names are told.
	maxShown = 100
	// memberFor is how long a member that says nothing more of itself stays: a gateway that crashed tells of no disconnect.
	memberFor = 3 * time.Minute
)

// chatRoom is one room: who is in it and what happened last.
type chatRoom struct {
	name    string
	members map[string]chatMember // by connection
	history []chatEvent
}

type chatMember struct {
	name  string
	until time.Time
}

// room returns a room, a new one when there is none of that name.
func (c *Chat) room(name string) (*chatRoom, error) {
	if room := c.rooms[name]; room != nil {
		return room, nil
	}
	if len(c.rooms) >= maxRooms {
		for other, room := range c.rooms {
			if room.expire(); len(room.members) == 0 {
				delete(c.rooms, other)
			}
		}
	}
	if len(c.rooms) >= maxRooms {
		return nil, &bus.ReplyError{Code: "resource_exhausted", Message: "there are no more rooms"}
	}
	room := &chatRoom{name: name, members: map[string]chatMember{}, history: []chatEvent{}}
	c.rooms[name] = room
	return room, nil
}

// enter makes a connection a member for a while, and returns its name before; nothing when it was none.
func (r *chatRoom) enter(connection, name string) (before string, err error) {
	r.expire()
	member, there := r.members[connection]
	if !there && len(r.members) >= maxMembers {
		return "", &bus.ReplyError{Code: "resource_exhausted", Message: "the room is full"}
	}
	r.members[connection] = chatMember{name: name, until: time.Now().Add(memberFor)}
	return member.name, nil
}

// exit ends a membership and returns the name that it had; nothing when there was none.
func (r *chatRoom) exit(connection string) string {
	name := r.nameOf(connection)
	delete(r.members, connection)
	return name
}

func (r *chatRoom) nameOf(connection string) string { return r.members[connection].name }

// names returns the names in the room, sorted, each once.
func (r *chatRoom) names() []string {
	names := make([]string, 0, len(r.members))
	for _, member := range r.members {
		names = append(names, member.name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), maxShown)]
}

func (r *chatRoom) remember(event chatEvent) {
	if len(r.history) == maxHistory {
		r.history = slices.Delete(r.history, 0, 1)
	}
	r.history = append(r.history, event)
}

func (r *chatRoom) expire() {
	now := time.Now()
	for connection, member := range r.members {
		if now.After(member.until) {
			delete(r.members, connection)
		}
	}
}
