package demo

import (
	"google.golang.org/protobuf/proto"

	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

// seed returns what a new shop has: books on shelf 1, devices on shelf 2.
func seed() []*demov1.Item {
	return []*demov1.Item{
		{
			Name: "shelves/1/items/atlas", Title: "An atlas of rivers", PriceMicros: 48_000_000, Currency: "EUR",
			Availability: demov1.Item_IN_STOCK, Stock: 7, Tags: []string{"maps", "large"},
			Attributes: map[string]string{"binding": "cloth", "language": "en"},
			Dimensions: &demov1.Item_Dimensions{WidthCm: 30, HeightCm: 42, DepthCm: 3.5},
			Kind:       &demov1.Item_Book_{Book: &demov1.Item_Book{Author: "M. Okoro", Isbn: "9780000000019", Pages: 320}},
			Rating:     proto.Float64(4.5),
		},
		{
			Name: "shelves/1/items/cookbook", Title: "Soups for every month", PriceMicros: 19_900_000, Currency: "EUR",
			Availability: demov1.Item_IN_STOCK, Stock: 40, Tags: []string{"kitchen"},
			Attributes: map[string]string{"binding": "paper", "language": "en"},
			Kind:       &demov1.Item_Book_{Book: &demov1.Item_Book{Author: "L. Brandt", Isbn: "9780000000026", Pages: 180}},
		},
		{
			Name: "shelves/1/items/primer", Title: "A primer of knots", PriceMicros: 12_500_000, Currency: "EUR",
			Availability: demov1.Item_SOLD_OUT, Tags: []string{"outdoors", "small"},
			Attributes: map[string]string{"binding": "paper", "language": "en"},
			Kind:       &demov1.Item_Book_{Book: &demov1.Item_Book{Author: "S. Ferreira", Isbn: "9780000000033", Pages: 96}},
			Rating:     proto.Float64(4),
		},
		{
			Name: "shelves/2/items/kettle", Title: "A kettle with a whistle", PriceMicros: 35_000_000, Currency: "EUR",
			Availability: demov1.Item_IN_STOCK, Stock: 12, Tags: []string{"kitchen"},
			Attributes: map[string]string{"colour": "blue"},
			Dimensions: &demov1.Item_Dimensions{WidthCm: 20, HeightCm: 22, DepthCm: 18},
			Kind:       &demov1.Item_Device_{Device: &demov1.Item_Device{Maker: "Nordlys", Watts: 2000}},
			Rating:     proto.Float64(3.5),
		},
		{
			Name: "shelves/2/items/lamp", Title: "A reading lamp", PriceMicros: 59_000_000, Currency: "EUR",
			Availability: demov1.Item_ANNOUNCED, Tags: []string{"light", "small"},
			Attributes: map[string]string{"colour": "red", "plug": "type F"},
			Kind:       &demov1.Item_Device_{Device: &demov1.Item_Device{Maker: "Nordlys", Watts: 7.5}},
		},
	}
}
