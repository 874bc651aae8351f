package demo_test

import (
	"context"
	"fmt"
	"log"

	"github.com/crossgate/crossgate/demo"
	demov1 "github.com/crossgate/crossgate/proto/crossgate/demo/v1"
)

func ExampleNewShop() {
	shop := demo.NewShop()
	answer, err := shop.ListItems(context.Background(), &demov1.ListItemsRequest{Parent: "shelves/2"})
	if err != nil {
		log.Fatal(err)
	}
	for _, item := range answer.GetItems() {
		fmt.Println(item.GetName(), item.GetTitle())
	}
	// Output:
	// shelves/2/items/kettle A kettle with a whistle
	// shelves/2/items/lamp A reading lamp
}
