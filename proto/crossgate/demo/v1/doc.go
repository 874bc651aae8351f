// Package demov1 is the generated Go of shop.proto: the demo shop's messages, client and server. Package demo serves it.
package demov1
