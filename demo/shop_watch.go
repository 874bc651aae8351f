package demo

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

// watchQueue is how many events wait for a slow watcher. One that falls further behind is sent away.
const watchQueue = 256

// watch is one caller of WatchItems.
type watch struct {
	prefix string
	events chan *demov1.ItemEvent // closed when the watcher has fallen behind
}

// WatchItems tells of changes until the caller goes away.
func (s *Shop) WatchItems(r *demov1.WatchItemsRequest, call grpc.ServerStreamingServer[demov1.ItemEvent]) error {
	prefix, err := shelfPrefix(r.GetParent())
	if err != nil {
		return err
	}
	w, present := s.watch(prefix)
	defer s.unwatch(w)
	if r.GetIncludePresent() {
		for _, item := range present {
			if err := call.Send(&demov1.ItemEvent{Kind: demov1.ItemEvent_PRESENT, Item: item, Time: timestamppb.Now()}); err != nil {
				return err
			}
		}
	} else if err := call.SendHeader(nil); err != nil { // so that the caller knows that the watch has begun
		return err
	}
	for {
		select {
		case <-call.Context().Done():
			return status.FromContextError(call.Context().Err()).Err()
		case event, ok := <-w.events:
			if !ok {
				return status.Errorf(codes.ResourceExhausted, "the watcher is more than %d events behind", watchQueue)
			}
			if err := call.Send(event); err != nil {
				return err
			}
		}
	}
}

// watch begins a watch, and returns the items there are at that moment, by name.
func (s *Shop) watch(prefix string) (*watch, []*demov1.Item) {
	w := &watch{prefix: prefix, events: make(chan *demov1.ItemEvent, watchQueue)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[w] = struct{}{}
	var present []*demov1.Item
	for _, name := range slices.Sorted(maps.Keys(s.items)) {
		if strings.HasPrefix(name, prefix) {
			present = append(present, s.items[name])
		}
	}
	return w, present
}

func (s *Shop) unwatch(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watches, w)
}

// tell hands an event to every watcher of its shelf. The caller holds mu.
func (s *Shop) tell(event *demov1.ItemEvent) {
	for w := range s.watches {
		if !strings.HasPrefix(event.GetItem().GetName(), w.prefix) {
			continue
		}
		select {
		case w.events <- event:
		default:
			close(w.events)
			delete(s.watches, w)
		}
	}
}
