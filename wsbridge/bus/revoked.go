package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxRevoked is the most revocations that are kept at a time: every node has them all in memory.
const maxRevoked = 100_000

// Revocation refuses a user's credentials or a token before their time. It is a member of the sorted set of
// revocations, whose score is Until in seconds since 1970.
type Revocation struct {
	User    string    `json:"user,omitempty"`
	TokenID string    `json:"token_id,omitempty"`
	Before  time.Time `json:"before,omitzero"`
	Until   time.Time `json:"until"`
}

// Revoke keeps a revocation for nodes that start later. Those that run are told by a Control.
func (s *Servers) Revoke(ctx context.Context, key string, r Revocation) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	member, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("bus: revocation: %w", err)
	}
	var count *redis.IntCmd
	_, err = s.of(key).client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRemRangeByScore(ctx, key, "-inf", strconv.FormatInt(time.Now().Unix(), 10))
		count = p.ZCard(ctx, key)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	if count.Val() >= maxRevoked {
		return fmt.Errorf("bus: %d revocations are in force, as many as there may be", count.Val())
	}
	// Up to the next whole second, so that it is not dropped too soon.
	if err := s.of(key).client.ZAdd(ctx, key, redis.Z{Score: float64(r.Until.Unix() + 1), Member: member}).Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return nil
}

// Revoked returns the revocations in force. What is no revocation is left out: services may write the set too.
func (s *Servers) Revoked(ctx context.Context, key string) ([]Revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	members, err := s.of(key).client.ZRangeByScore(ctx, key, &redis.ZRangeBy{
		Min: strconv.FormatInt(time.Now().Unix(), 10), Max: "+inf", Count: maxRevoked}).Result()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	list := make([]Revocation, 0, len(members))
	for _, m := range members {
		var r Revocation
		if json.Unmarshal([]byte(m), &r) == nil {
			list = append(list, r)
		}
	}
	return list, nil
}
