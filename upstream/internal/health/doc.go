// Package health asks a backend again and again whether it is well, and says when the answer has changed.
//
// [Run] asks by a [Check]: [GRPC], [HTTP] or [TCP].
package health
