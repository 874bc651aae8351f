package bus

// Keys are the names of the bus below one prefix, "cg:" unless configured. What belongs to a channel or a
// queue has its name in braces, so that a Redis Cluster has it all in one slot.
type Keys struct{ Prefix string }

// In is the channel of inbound envelopes of a service, delivered at most once to each replica that subscribes.
func (k Keys) In(service string) string { return k.Prefix + "in:" + service }

// Queue is the stream of inbound envelopes of a service, delivered at least once to one of its replicas.
func (k Keys) Queue(service string) string { return k.Prefix + "queue:" + service }

// Heartbeat is the key that the replicas of a service set while they read its queue.
func (k Keys) Heartbeat(service string) string {
	return k.Prefix + "heartbeat:{" + k.Queue(service) + "}"
}

// Queued is the key that remembers a message of a service's queue by its id.
func (k Keys) Queued(service, id string) string {
	return k.Prefix + "queued:{" + k.Queue(service) + "}:" + id
}

// Dead is the stream of what a service's queue has had in vain.
func (k Keys) Dead(service string) string { return k.Prefix + "dead:" + service }

// Node is the channel of envelopes for connections of one gateway node: what reply_to holds.
func (k Keys) Node(node string) string { return k.Prefix + "out:node:" + node }

// User is the channel of payloads for every session of a user.
func (k Keys) User(user string) string { return k.Prefix + "out:user:" + user }

// Channel is the channel of payloads for every subscriber of a channel.
func (k Keys) Channel(name string) string { return k.Prefix + "out:channel:" + name }

// Control is the channel of commands to every node.
func (k Keys) Control() string { return k.Prefix + "control" }

// Peer is the channel of commands and answers to one node.
func (k Keys) Peer(node string) string { return k.Prefix + "node:" + node }

// Revoked is the sorted set of revocations, by when they end.
func (k Keys) Revoked() string { return k.Prefix + "revoked" }

// All is the channel of payloads for everyone.
func (k Keys) All() string { return k.Prefix + "out:all" }

// History is the stream of what a channel keeps.
func (k Keys) History(name string) string { return k.Prefix + "history:{" + k.Channel(name) + "}" }

// Position is the hash of a channel's epoch and latest offset.
func (k Keys) Position(name string) string { return k.Prefix + "position:{" + k.Channel(name) + "}" }

// Presence is the hash of who is present in a channel, by connection.
func (k Keys) Presence(name string) string { return k.Prefix + "presence:{" + k.Channel(name) + "}" }

// PresenceUsers is the hash of the users that are present in a channel, with the number of their connections.
func (k Keys) PresenceUsers(name string) string {
	return k.Prefix + "presence:users:{" + k.Channel(name) + "}"
}

// presence returns the keys of a channel's presence, as the scripts want them: besides the two above the connections in the
// order of their nodes, and the epoch.
func (k Keys) presence(name string) []string {
	tag := "{" + k.Channel(name) + "}"
	return []string{k.Presence(name), k.PresenceUsers(name), k.Prefix + "presence:order:" + tag, k.Prefix + "presence:epoch:" + tag}
}

// roster is what the keys of nodes with presence have in braces.
func (k Keys) roster() string { return k.Prefix + "presence" }

// rosters returns the sorted sets of the nodes that live, by their latest beat, and of those that are gone, and the hash of
// who sweeps.
func (k Keys) rosters() []string {
	tag := "{" + k.roster() + "}"
	return []string{k.Prefix + "presence:nodes:" + tag, k.Prefix + "presence:gone:" + tag, k.Prefix + "presence:sweeper:" + tag}
}

// presenceOf is the sorted set of the channels in which a node has somebody, by their TTL.
func (k Keys) presenceOf(node string) string {
	return k.Prefix + "presence:of:{" + k.roster() + "}:" + node
}

// Published is the key that remembers a publication to a channel by its id.
func (k Keys) Published(name, id string) string {
	return k.Prefix + "published:{" + k.Channel(name) + "}:" + id
}
