package demo

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

// invalid is the error of a wrong field of a request.
func invalid(field, format string, args ...any) error {
	description := fmt.Sprintf(format, args...)
	return withDetail(codes.InvalidArgument, field+": "+description, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}},
	})
}

// withResource is an error about one item.
func withResource(code codes.Code, name, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return withDetail(code, message, &errdetails.ResourceInfo{
		ResourceType: "crossgate.demo.v1.Item", ResourceName: name, Description: message,
	})
}

func withDetail(code codes.Code, message string, detail protoadapt.MessageV1) error {
	s := status.New(code, message)
	if detailed, err := s.WithDetails(detail); err == nil {
		s = detailed
	}
	return s.Err()
}

// checkShelfName wants shelves/{shelf}.
func checkShelfName(field, name string) error {
	parts := strings.Split(name, "/")
	if len(parts) != 2 || parts[0] != "shelves" || !isID(parts[1]) {
		return invalid(field, "%q is not shelves/{shelf}", name)
	}
	return nil
}

// checkItemName wants shelves/{shelf}/items/{item}.
func checkItemName(field, name string) error {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "shelves" || !isID(parts[1]) || parts[2] != "items" || !isID(parts[3]) {
		return invalid(field, "%q is not shelves/{shelf}/items/{item}", name)
	}
	return nil
}

// maxItemSize is the most bytes of an item, its picture among them.
const maxItemSize = 32 << 10

// checkItem checks what a caller says about an item.
func checkItem(item *demov1.Item) error {
	switch title := item.GetTitle(); {
	case title == "":
		return invalid("item.title", "is required")
	case len(title) > 200:
		return invalid("item.title", "has %d bytes, more than 200", len(title))
	}
	if item.GetPriceMicros() < 0 {
		return invalid("item.price_micros", "%d is below 0", item.GetPriceMicros())
	}
	if c := item.GetCurrency(); len(c) != 3 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return invalid("item.currency", "%q is not a currency of ISO 4217, for example EUR", c)
	}
	if _, known := demov1.Item_Availability_name[int32(item.GetAvailability())]; !known {
		return invalid("item.availability", "%d is none of its values", item.GetAvailability())
	}
	if size := proto.Size(item); size > maxItemSize {
		return invalid("item", "has %d bytes, more than %d", size, maxItemSize)
	}
	return nil
}

const idBytes = "abcdefghijklmnopqrstuvwxyz0123456789-"

// isID says whether s can be the last part of a name.
func isID(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, idBytes) == "" && s != "-"
}

// freeID makes an id of a title: a-lamp, then a-lamp-2. The caller holds mu.
func (s *Shop) freeID(shelf, title string) string {
	base := strings.Map(func(r rune) rune {
		if strings.ContainsRune(idBytes, r) {
			return r
		}
		return '-'
	}, strings.ToLower(title))
	base = strings.Trim(base[:min(len(base), 40)], "-")
	if base == "" {
		base = "item"
	}
	id := base
	for n := 2; s.items[shelf+"/items/"+id] != nil; n++ {
		id = base + "-" + strconv.Itoa(n)
	}
	return id
}
