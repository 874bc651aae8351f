package bus

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Servers are the Redis that gateways and services share: one, or several that know nothing of each other. Each channel
// and each stream is of one of them, by its name. Its methods are safe for concurrent use.
type Servers struct {
	list []*server
}

// server is one Redis: a single one, one that Sentinels look after, or a cluster.
type server struct {
	name     string // that decides what is of it
	client   redis.UniversalClient
	one      *redis.Client        // nil for a cluster
	cluster  *redis.ClusterClient // nil for others
	pipeline *pipeline
	publish  string      // the command that publishes
	stale    atomic.Bool // the cluster's slots have moved
}

// The schemes of a URL.
const (
	schemeCluster  = "+cluster"
	schemeSentinel = "+sentinel"
)

const (
	// retries: a command that may have been carried out is not repeated by go-redis, but by who knows that it may be.
	retries = -1
	// dials is how often a command tries to connect.
	dials = 1
)

// Open makes clients for Redis URLs:
//
//	redis://[user:password@]host:port/db                                            one server
//	redis+sentinel://[user:password@]host:port/db?master_name=name[&addr=host:port…] the master that these Sentinels know
//	redis+cluster://[user:password@]host:port[?addr=host:port…]                      a cluster that these are nodes of
//
// and the same with rediss for TLS. Further parameters are go-redis's; sentinel_username and sentinel_password are for the
// Sentinels. With several URLs each name is of one of them: which, hangs on their hosts and ports, not on their order. No
// error repeats a part of a URL, which may have a password in it. Nothing is connected to yet.
func Open(urls ...string) (*Servers, error) {
	if len(urls) == 0 {
		return nil, errors.New("bus: expected a redis URL")
	}
	s := new(Servers)
	for i, text := range urls {
		one, err := open(text)
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("bus: redis URL %d: %w", i+1, err)
		}
		s.list = append(s.list, one)
	}
	return s, nil
}

var errURL = errors.New("expected redis://[user:password@]host:port/db, redis+sentinel://…?master_name=… or redis+cluster://…, " +
	"with other characters percent-encoded")

func open(text string) (*server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, errURL
	}
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	name := u.Host
	u.Scheme = scheme
	switch "+" + kind {
	case "+":
		o, err := redis.ParseURL(u.String())
		if err != nil {
			return nil, errURL
		}
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = retries, dials, true
		return newServer(name, redis.NewClient(o))
	case schemeCluster:
		o, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, errURL
		}
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = retries, dials, true
		return newServer(name, redis.NewClusterClient(o))
	case schemeSentinel:
		o, err := failover(u)
		if err != nil || o.MasterName == "" {
			return nil, errURL
		}
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = retries, dials, true
		return newServer(name, redis.NewFailoverClient(o))
	}
	return nil, errURL
}

// failover gives the credentials to the Redis, as in any other URL; go-redis takes them for the Sentinels'.
func failover(u *url.URL) (*redis.FailoverOptions, error) {
	query := u.Query()
	user, password := query.Get("sentinel_username"), query.Get("sentinel_password")
	query.Del("sentinel_username")
	query.Del("sentinel_password")
	u.RawQuery = query.Encode()
	o, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, err
	}
	o.Username, o.Password = o.SentinelUsername, o.SentinelPassword
	o.SentinelUsername, o.SentinelPassword = user, password
	return o, nil
}

func newServer(name string, client redis.UniversalClient) (*server, error) {
	s := &server{name: name, client: client, pipeline: &pipeline{client: client}, publish: "PUBLISH"}
	switch c := client.(type) {
	case *redis.Client:
		s.one = c
	case *redis.ClusterClient:
		s.cluster, s.publish = c, "SPUBLISH"
	default:
		return nil, fmt.Errorf("%T is neither a client nor a cluster's", client)
	}
	return s, nil
}

// One are the servers behind one client, a *redis.Client or a *redis.ClusterClient. It stays the caller's.
func One(client redis.UniversalClient) *Servers {
	s, err := newServer("redis", client)
	if err != nil {
		panic("bus: " + err.Error())
	}
	return &Servers{[]*server{s}}
}

// Client returns the client of the server that has a channel or a stream.
func (s *Servers) Client(name string) redis.UniversalClient { return s.of(name).client }

// First returns the client of the first server, for what is not a channel's or a stream's.
func (s *Servers) First() redis.UniversalClient { return s.list[0].client }

// Names returns the host and port of each server, as its URL has them.
func (s *Servers) Names() []string {
	var names []string
	for _, one := range s.list {
		names = append(names, one.name)
	}
	return names
}

// Close closes the clients that Open has made.
func (s *Servers) Close() error {
	var errs []error
	for _, one := range s.list {
		errs = append(errs, one.client.Close())
	}
	return errors.Join(errs...)
}

// of returns the server that has a channel or a stream: of all the one whose name, hashed together with the channel's,
// comes to the most (rendezvous hashing), so that a server more or less moves no names between others.
func (s *Servers) of(name string) *server {
	best := s.list[0]
	if len(s.list) == 1 {
		return best
	}
	var most uint64
	buffer := make([]byte, 0, 256)
	for _, one := range s.list {
		buffer = append(append(append(buffer[:0], one.name...), ' '), name...)
		sum := sha256.Sum256(buffer)
		if weight := binary.BigEndian.Uint64(sum[:]); weight >= most {
			best, most = one, weight
		}
	}
	return best
}

// Publish publishes to a channel and returns how many subscribers Redis handed it to.
func (s *Servers) Publish(ctx context.Context, channel string, payload []byte) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	on := s.of(channel)
	cmd := redis.NewIntCmd(ctx, on.publish, channel, payload)
	if err := on.pipeline.do(ctx, cmd); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDown, err)
	}
	return cmd.Val(), nil
}
