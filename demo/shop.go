package demo

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

const (
	// maxItems keeps a shop that everyone may write to from growing without end.
	maxItems = 2_000
	// maxBatch is the most items one BatchGetItems returns.
	maxBatch = 100
)

// Shop is the demo shop, in memory. Its methods may be called from any goroutine.
type Shop struct {
	demov1.UnimplementedShopServer

	mu           sync.Mutex
	items        map[string]*demov1.Item // by name; never changed once in here, only replaced
	revision     uint64                  // counts changes; the newest one is an item's etag
	reservations uint64
	watches      map[*watch]struct{}
}

// NewShop returns a shop with a few items on shelves 1 and 2.
func NewShop() *Shop {
	s := &Shop{items: map[string]*demov1.Item{}, watches: map[*watch]struct{}{}}
	for _, item := range seed() {
		s.put(item, demov1.ItemEvent_CREATED)
	}
	return s
}

// GetItem returns an item.
func (s *Shop) GetItem(_ context.Context, r *demov1.GetItemRequest) (*demov1.Item, error) {
	if err := checkItemName("name", r.GetName()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(r.GetName())
}

// CreateItem puts a new item on a shelf.
func (s *Shop) CreateItem(_ context.Context, r *demov1.CreateItemRequest) (*demov1.Item, error) {
	if err := checkShelfName("parent", r.GetParent()); err != nil {
		return nil, err
	}
	if r.GetItem() == nil {
		return nil, invalid("item", "is required")
	}
	item := proto.CloneOf(r.GetItem())
	if item.GetCurrency() == "" {
		item.Currency = "EUR"
	}
	if item.GetAvailability() == demov1.Item_AVAILABILITY_UNSPECIFIED {
		item.Availability = demov1.Item_IN_STOCK
	}
	if err := checkItem(item); err != nil {
		return nil, err
	}
	id := r.GetItemId()
	if id != "" && !isID(id) {
		return nil, invalid("item_id", "%q is not 1 to 63 lower case letters, digits and dashes", id)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) >= maxItems {
		return nil, status.Errorf(codes.ResourceExhausted, "the shop is full: it has %d items", maxItems)
	}
	if id == "" {
		id = s.freeID(r.GetParent(), item.GetTitle())
	}
	item.Name = r.GetParent() + "/items/" + id
	if s.items[item.GetName()] != nil {
		return nil, withResource(codes.AlreadyExists, item.GetName(), "%s is already there", item.GetName())
	}
	item.CreateTime = timestamppb.Now()
	return s.put(item, demov1.ItemEvent_CREATED), nil
}

// UpdateItem changes fields of an item.
func (s *Shop) UpdateItem(_ context.Context, r *demov1.UpdateItemRequest) (*demov1.Item, error) {
	name := r.GetItem().GetName()
	if err := checkItemName("item.name", name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.getMatching(name, r.GetItem().GetEtag())
	if err != nil {
		return nil, err
	}
	item, err := merged(old, r.GetItem(), r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	if err := checkItem(item); err != nil {
		return nil, err
	}
	return s.put(item, demov1.ItemEvent_UPDATED), nil
}

// DeleteItem takes an item off its shelf.
func (s *Shop) DeleteItem(_ context.Context, r *demov1.DeleteItemRequest) (*emptypb.Empty, error) {
	if err := checkItemName("name", r.GetName()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	item, err := s.getMatching(r.GetName(), r.GetEtag())
	if err != nil {
		return nil, err
	}
	delete(s.items, item.GetName())
	s.tell(&demov1.ItemEvent{Kind: demov1.ItemEvent_DELETED, Item: item, Time: timestamppb.Now()})
	return &emptypb.Empty{}, nil
}

// ReserveItem sets units of an item aside.
func (s *Shop) ReserveItem(_ context.Context, r *demov1.ReserveItemRequest) (*demov1.Reservation, error) {
	if err := checkItemName("name", r.GetName()); err != nil {
		return nil, err
	}
	if r.GetUnits() == 0 {
		return nil, invalid("units", "must be at least 1")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.get(r.GetName())
	if err != nil {
		return nil, err
	}
	if old.GetStock() < r.GetUnits() {
		return nil, withResource(codes.FailedPrecondition, old.GetName(), "%s has %d units, not %d", old.GetName(), old.GetStock(), r.GetUnits())
	}
	item := proto.CloneOf(old)
	item.Stock -= r.GetUnits()
	if item.Stock == 0 {
		item.Availability = demov1.Item_SOLD_OUT
	}
	s.reservations++
	return &demov1.Reservation{
		Name:       fmt.Sprintf("%s/reservations/%d", item.GetName(), s.reservations),
		Units:      r.GetUnits(),
		Customer:   r.GetCustomer(),
		CreateTime: timestamppb.Now(),
		Item:       s.put(item, demov1.ItemEvent_UPDATED),
	}, nil
}

// BatchGetItems returns several items, or none when one of them is not there.
func (s *Shop) BatchGetItems(_ context.Context, r *demov1.BatchGetItemsRequest) (*demov1.BatchGetItemsResponse, error) {
	if n := len(r.GetNames()); n > maxBatch {
		return nil, invalid("names", "has %d names, more than %d", n, maxBatch)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &demov1.BatchGetItemsResponse{}
	for i, name := range r.GetNames() {
		if err := checkItemName(fmt.Sprintf("names[%d]", i), name); err != nil {
			return nil, err
		}
		item, err := s.get(name)
		if err != nil {
			return nil, err
		}
		answer.Items = append(answer.Items, item)
	}
	return answer, nil
}

// get returns an item that must not be changed. The caller holds mu.
func (s *Shop) get(name string) (*demov1.Item, error) {
	item := s.items[name]
	if item == nil {
		return nil, withResource(codes.NotFound, name, "%s is not in the shop", name)
	}
	return item, nil
}

// getMatching is get with a check of the caller's etag, which may be empty.
func (s *Shop) getMatching(name, etag string) (*demov1.Item, error) {
	item, err := s.get(name)
	if err == nil && etag != "" && etag != item.GetEtag() {
		return nil, withResource(codes.Aborted, name, "%s has changed: its etag is %q, not %q", name, item.GetEtag(), etag)
	}
	return item, err
}

// put stores an item that nobody else holds, and tells watchers. The caller holds mu.
func (s *Shop) put(item *demov1.Item, kind demov1.ItemEvent_Kind) *demov1.Item {
	s.revision++
	item.Etag = strconv.FormatUint(s.revision, 36)
	item.UpdateTime = timestamppb.New(time.Now())
	if item.GetCreateTime() == nil {
		item.CreateTime = item.GetUpdateTime()
	}
	s.items[item.GetName()] = item
	s.tell(&demov1.ItemEvent{Kind: kind, Item: item, Time: item.GetUpdateTime()})
	return item
}
