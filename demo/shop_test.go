package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

// startShop serves a shop and returns a client of it.
func startShop(t *testing.T) (demov1.ShopClient, *grpc.ClientConn) {
	t.Helper()
	server, err := StartShop("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	conn, err := grpc.NewClient(server.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return demov1.NewShopClient(conn), conn
}

func parse[M proto.Message](t *testing.T, into M, text string) M {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
	return into
}

func names(items []*demov1.Item) string {
	var b strings.Builder
	for _, item := range items {
		fmt.Fprintf(&b, "%s ", strings.TrimPrefix(item.GetName(), "shelves/"))
	}
	return strings.TrimSpace(b.String())
}

func TestListItems(t *testing.T) {
	tests := []struct{ name, request, want string }{
		{"a shelf's items come by name", `{"parent": "shelves/1"}`, "1/items/atlas 1/items/cookbook 1/items/primer"},
		{"shelves/- stands for all shelves", `{"parent": "shelves/-", "filter": {"tags": ["kitchen"]}}`, "1/items/cookbook 2/items/kettle"},
		{"nothing does too", `{"filter": {"tags": ["small", "light"]}}`, "2/items/lamp"},
		{"a title is searched in any letter case", `{"filter": {"title": "KNOTS"}}`, "1/items/primer"},
		{"by availability", `{"filter": {"availability": "SOLD_OUT"}}`, "1/items/primer"},
		{"a price of 0 is a bound too", `{"filter": {"maxPriceMicros": "0"}}`, ""},
		{"bounds are included", `{"filter": {"minPriceMicros": "19900000", "maxPriceMicros": "35000000"}}`, "1/items/cookbook 2/items/kettle"},
		{"a shelf that nobody uses is empty", `{"parent": "shelves/9"}`, ""},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			answer, err := NewShop().ListItems(t.Context(), parse(t, &demov1.ListItemsRequest{}, c.request))
			if err != nil {
				t.Fatal(err)
			}
			if got := names(answer.GetItems()); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if answer.GetNextPageToken() != "" {
				t.Error("the last page has a token")
			}
		})
	}
}

func TestPagesTogetherAreTheWholeList(t *testing.T) {
	shop := NewShop()
	request := &demov1.ListItemsRequest{PageSize: 2}
	var all []*demov1.Item
	for pages := 1; ; pages++ {
		answer, err := shop.ListItems(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, answer.GetItems()...)
		if answer.GetNextPageToken() == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		request.PageToken = answer.GetNextPageToken()
	}
	if want := "1/items/atlas 1/items/cookbook 1/items/primer 2/items/kettle 2/items/lamp"; names(all) != want {
		t.Errorf("got %q, want %q", names(all), want)
	}
	request.Parent = "shelves/1"
	if _, err := shop.ListItems(t.Context(), request); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a token of another list gets %v, want InvalidArgument", err)
	}
}

func TestAWrongFieldIsNamed(t *testing.T) {
	client, _ := startShop(t)
	create := func(item string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.CreateItem(ctx, parse(t, &demov1.CreateItemRequest{}, `{"parent": "shelves/1", "item": `+item+`}`))
			return err
		}
	}
	tests := []struct {
		name  string
		call  func(context.Context) error
		field string
	}{
		{"no item", create("null"), "item"},
		{"no title", create(`{}`), "item.title"},
		{"a long title", create(`{"title": "` + strings.Repeat("x", 201) + `"}`), "item.title"},
		{"a price below 0", create(`{"title": "x", "priceMicros": "-1"}`), "item.price_micros"},
		{"no currency", create(`{"title": "x", "currency": "euro"}`), "item.currency"},
		{"an availability that is none", create(`{"title": "x", "availability": 9}`), "item.availability"},
		{"a big picture", create(`{"title": "x", "thumbnail": "` + strings.Repeat("AAAA", 12000) + `"}`), "item"},
		{"a name that is none", func(ctx context.Context) error {
			_, err := client.GetItem(ctx, &demov1.GetItemRequest{Name: "shelves/1/items/"})
			return err
		}, "name"},
		{"a shelf that is none", func(ctx context.Context) error {
			_, err := client.ListItems(ctx, &demov1.ListItemsRequest{Parent: "shelves/1/items/x"})
			return err
		}, "parent"},
		{"a page size below 0", func(ctx context.Context) error {
			_, err := client.ListItems(ctx, &demov1.ListItemsRequest{PageSize: -1})
			return err
		}, "page_size"},
		{"a page token that is none", func(ctx context.Context) error {
			_, err := client.ListItems(ctx, &demov1.ListItemsRequest{PageToken: "!"})
			return err
		}, "page_token"},
		{"one wrong name of several", func(ctx context.Context) error {
			_, err := client.BatchGetItems(ctx, &demov1.BatchGetItemsRequest{Names: []string{"shelves/1/items/atlas", "x"}})
			return err
		}, "names[1]"},
		{"no units", func(ctx context.Context) error {
			_, err := client.ReserveItem(ctx, &demov1.ReserveItemRequest{Name: "shelves/1/items/atlas"})
			return err
		}, "units"},
		{"a mask with a field that is none", func(ctx context.Context) error {
			_, err := client.UpdateItem(ctx, &demov1.UpdateItemRequest{
				Item:       &demov1.Item{Name: "shelves/1/items/atlas"},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"dimensions.weight"}},
			})
			return err
		}, "update_mask"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			s := status.Convert(c.call(t.Context()))
			if s.Code() != codes.InvalidArgument || len(s.Details()) != 1 {
				t.Fatalf("got %v, want InvalidArgument with one detail", s)
			}
			request, ok := s.Details()[0].(*errdetails.BadRequest)
			if !ok || len(request.GetFieldViolations()) != 1 || request.GetFieldViolations()[0].GetField() != c.field {
				t.Errorf("the detail is %v, want a violation of %s", s.Details()[0], c.field)
			}
		})
	}
}

func TestUpdateItem(t *testing.T) {
	tests := []struct {
		name, item, mask, want string
	}{
		{
			"without a mask the fields that are set change",
			`{"name": "shelves/2/items/lamp", "title": "A lamp", "stock": 3}`, "",
			`{"title": "A lamp", "stock": 3, "tags": ["light", "small"], "device": {"maker": "Nordlys", "watts": 7.5}}`,
		},
		{
			"with a mask those it names, and one that is not set is cleared",
			`{"name": "shelves/2/items/lamp", "title": "ignored", "stock": 3}`, "stock,tags",
			`{"title": "A reading lamp", "stock": 3, "device": {"maker": "Nordlys", "watts": 7.5}}`,
		},
		{
			"a path may go into a message",
			`{"name": "shelves/2/items/lamp", "device": {"watts": 9}}`, "device.watts",
			`{"title": "A reading lamp", "tags": ["light", "small"], "device": {"maker": "Nordlys", "watts": 9}}`,
		},
		{
			"the other member of a oneof takes the place of the one that was",
			`{"name": "shelves/2/items/lamp", "book": {"pages": 1}}`, "",
			`{"title": "A reading lamp", "tags": ["light", "small"], "book": {"pages": 1}}`,
		},
		{
			"* is the whole item",
			`{"name": "shelves/2/items/lamp", "title": "All new", "currency": "EUR"}`, "*",
			`{"title": "All new"}`,
		},
		{
			"what is the shop's own stays",
			`{"name": "shelves/2/items/lamp", "createTime": "2001-01-01T00:00:00Z"}`, "create_time",
			`{"title": "A reading lamp", "tags": ["light", "small"], "device": {"maker": "Nordlys", "watts": 7.5}}`,
		},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			shop := NewShop()
			before, err := shop.GetItem(t.Context(), &demov1.GetItemRequest{Name: "shelves/2/items/lamp"})
			if err != nil {
				t.Fatal(err)
			}
			request := &demov1.UpdateItemRequest{Item: parse(t, &demov1.Item{}, c.item)}
			if c.mask != "" {
				request.UpdateMask = &fieldmaskpb.FieldMask{Paths: strings.Split(c.mask, ",")}
			}
			item, err := shop.UpdateItem(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if item.GetEtag() == before.GetEtag() || !proto.Equal(item.GetCreateTime(), before.GetCreateTime()) {
				t.Errorf("etag %q after %q, created %v after %v", item.GetEtag(), before.GetEtag(), item.GetCreateTime(), before.GetCreateTime())
			}
			want := parse(t, &demov1.Item{}, c.want)
			got := &demov1.Item{Title: item.GetTitle(), Stock: item.GetStock(), Tags: item.GetTags(), Kind: item.GetKind()}
			if !proto.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		})
	}
}

func TestAnOldEtagIsRefused(t *testing.T) {
	shop := NewShop()
	const name = "shelves/1/items/atlas"
	old, err := shop.GetItem(t.Context(), &demov1.GetItemRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	change := &demov1.UpdateItemRequest{Item: &demov1.Item{Name: name, Title: "New", Etag: old.GetEtag()}}
	if _, err := shop.UpdateItem(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.UpdateItem(t.Context(), change); status.Code(err) != codes.Aborted {
		t.Errorf("the same update again gets %v, want Aborted", err)
	}
	if _, err := shop.DeleteItem(t.Context(), &demov1.DeleteItemRequest{Name: name, Etag: old.GetEtag()}); status.Code(err) != codes.Aborted {
		t.Errorf("a delete gets %v, want Aborted", err)
	}
}

func TestCreateItemMakesAName(t *testing.T) {
	shop := NewShop()
	for _, want := range []string{"shelves/7/items/caf--noir", "shelves/7/items/caf--noir-2"} {
		item, err := shop.CreateItem(t.Context(), &demov1.CreateItemRequest{Parent: "shelves/7", Item: &demov1.Item{Title: "Café Noir"}})
		if err != nil {
			t.Fatal(err)
		}
		if item.GetName() != want || item.GetCurrency() != "EUR" {
			t.Errorf("got %v, want the name %s and EUR", item, want)
		}
	}
	_, err := shop.CreateItem(t.Context(), &demov1.CreateItemRequest{Parent: "shelves/1", ItemId: "atlas", Item: &demov1.Item{Title: "x"}})
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("a name that is taken gets %v, want AlreadyExists", err)
	}
}

func TestReservationsNeverExceedTheStock(t *testing.T) {
	shop := NewShop()
	var group sync.WaitGroup
	outcomes := make(chan codes.Code, 20)
	for range 20 {
		group.Go(func() {
			_, err := shop.ReserveItem(t.Context(), &demov1.ReserveItemRequest{Name: "shelves/1/items/atlas", Units: 1})
			outcomes <- status.Code(err)
		})
	}
	group.Wait()
	close(outcomes)
	count := map[codes.Code]int{}
	for code := range outcomes {
		count[code]++
	}
	if count[codes.OK] != 7 || count[codes.FailedPrecondition] != 13 {
		t.Errorf("outcomes %v, want 7 OK and 13 FailedPrecondition", count)
	}
	item, err := shop.GetItem(t.Context(), &demov1.GetItemRequest{Name: "shelves/1/items/atlas"})
	if err != nil || item.GetStock() != 0 || item.GetAvailability() != demov1.Item_SOLD_OUT {
		t.Errorf("then the item is %v, %v; want it sold out", item, err)
	}
}

func TestWatchTellsWhatIsThereAndThenEveryChange(t *testing.T) {
	client, _ := startShop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	watch, err := client.WatchItems(ctx, &demov1.WatchItemsRequest{Parent: "shelves/2", IncludePresent: true})
	if err != nil {
		t.Fatal(err)
	}
	next := func(kind demov1.ItemEvent_Kind, name string) {
		t.Helper()
		event, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetKind() != kind || event.GetItem().GetName() != name {
			t.Errorf("got %v, want %v of %s", event, kind, name)
		}
	}
	next(demov1.ItemEvent_PRESENT, "shelves/2/items/kettle")
	next(demov1.ItemEvent_PRESENT, "shelves/2/items/lamp")
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(client.DeleteItem(ctx, &demov1.DeleteItemRequest{Name: "shelves/1/items/atlas"}))
	do(client.CreateItem(ctx, &demov1.CreateItemRequest{Parent: "shelves/2", ItemId: "fan", Item: &demov1.Item{Title: "A fan", Stock: 2}}))
	do(client.ReserveItem(ctx, &demov1.ReserveItemRequest{Name: "shelves/2/items/fan", Units: 1}))
	do(client.DeleteItem(ctx, &demov1.DeleteItemRequest{Name: "shelves/2/items/fan"}))
	next(demov1.ItemEvent_CREATED, "shelves/2/items/fan")
	next(demov1.ItemEvent_UPDATED, "shelves/2/items/fan")
	next(demov1.ItemEvent_DELETED, "shelves/2/items/fan")
}

func TestAWatcherThatFallsBehindIsSentAway(t *testing.T) {
	shop := NewShop()
	w, _ := shop.watch("")
	for range watchQueue + 1 {
		if _, err := shop.UpdateItem(t.Context(), &demov1.UpdateItemRequest{Item: &demov1.Item{Name: "shelves/1/items/atlas", Stock: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	events := 0
	for range w.events { // ends only because the shop closed it
		events++
	}
	if events != watchQueue {
		t.Errorf("the watcher got %d events, want %d", events, watchQueue)
	}
	shop.unwatch(w)
}
