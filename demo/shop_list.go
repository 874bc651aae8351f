package demo

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

const (
	defaultPageSize = 20
	maxPageSize     = 100
)

// ListItems lists items by name.
func (s *Shop) ListItems(_ context.Context, r *demov1.ListItemsRequest) (*demov1.ListItemsResponse, error) {
	prefix, err := shelfPrefix(r.GetParent())
	if err != nil {
		return nil, err
	}
	size := int(r.GetPageSize())
	switch {
	case size < 0:
		return nil, invalid("page_size", "%d is below 0", size)
	case size == 0:
		size = defaultPageSize
	case size > maxPageSize:
		size = maxPageSize
	}
	after, err := readPageToken(r)
	if err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &demov1.ListItemsResponse{}
	for _, name := range slices.Sorted(maps.Keys(s.items)) {
		if name <= after || !strings.HasPrefix(name, prefix) || !passes(s.items[name], r.GetFilter()) {
			continue
		}
		if len(answer.GetItems()) == size {
			answer.NextPageToken = pageToken(r, answer.GetItems()[size-1].GetName())
			break
		}
		answer.Items = append(answer.Items, s.items[name])
	}
	return answer, nil
}

// shelfPrefix returns what the names of a shelf's items begin with; nothing for all shelves.
func shelfPrefix(parent string) (string, error) {
	if parent == "" || parent == "shelves/-" {
		return "", nil
	}
	if err := checkShelfName("parent", parent); err != nil {
		return "", err
	}
	return parent + "/items/", nil
}

// passes says whether an item has all that a filter, which may be nil, asks for.
func passes(item *demov1.Item, f *demov1.ListItemsRequest_Filter) bool {
	if !strings.Contains(strings.ToLower(item.GetTitle()), strings.ToLower(f.GetTitle())) {
		return false
	}
	for _, tag := range f.GetTags() {
		if !slices.Contains(item.GetTags(), tag) {
			return false
		}
	}
	if a := f.GetAvailability(); a != demov1.Item_AVAILABILITY_UNSPECIFIED && a != item.GetAvailability() {
		return false
	}
	if f != nil && f.MinPriceMicros != nil && item.GetPriceMicros() < f.GetMinPriceMicros() {
		return false
	}
	if f != nil && f.MaxPriceMicros != nil && item.GetPriceMicros() > f.GetMaxPriceMicros() {
		return false
	}
	return true
}

// A page token is the fingerprint of the list it belongs to, then the last name of the page before.

func pageToken(r *demov1.ListItemsRequest, last string) string {
	return base64.RawURLEncoding.EncodeToString(append(fingerprint(r), last...))
}

func readPageToken(r *demov1.ListItemsRequest) (after string, err error) {
	if r.GetPageToken() == "" {
		return "", nil
	}
	want := fingerprint(r)
	raw, err := base64.RawURLEncoding.DecodeString(r.GetPageToken())
	if err != nil || len(raw) < len(want) {
		return "", invalid("page_token", "is not one of this shop's")
	}
	if string(raw[:len(want)]) != string(want) {
		return "", invalid("page_token", "belongs to a list with another parent or filter")
	}
	return string(raw[len(want):]), nil
}

// fingerprint tells lists apart by parent and filter.
func fingerprint(r *demov1.ListItemsRequest) []byte {
	hash := fnv.New64a()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&demov1.ListItemsRequest{Parent: r.GetParent(), Filter: r.GetFilter()})
	if err == nil {
		hash.Write(raw)
	}
	return binary.BigEndian.AppendUint64(nil, hash.Sum64())
}
