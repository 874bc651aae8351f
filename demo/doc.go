// Package demo is what `crossgate dev` and the container example serve: a shop that speaks gRPC, a chat service that
// speaks to the bus, a chat page that speaks to the gateway, and the configuration that ties them together. The gateway
// needs none of it, and nothing here is special to the gateway: the shop is an ordinary gRPC server with reflection, the
// chat service an ordinary client of Redis.
//
// The types to know are [Shop], served by [StartShop], and [Chat], started by [StartChat]; [Config] is the
// configuration of `crossgate dev`, and [Page] its chat page.
package demo
