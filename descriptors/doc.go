// Package descriptors turns what describes gRPC services (FileDescriptorSet files, trees of .proto files, server
// reflection, sets registered while the gateway runs) into one immutable [Set] with the HTTP bindings of each method.
//
// Each source is compiled by itself: two teams may have their own versions of a file they share, but not of a service.
// A [Loader] reads the sources of a configuration, watches them, and says when a new Set is worth loading. Sets that
// are registered live in Redis ([Registry]), so that they survive a restart and reach every node.
//
// The package serves no HTTP and opens no connections: the ones it needs are handed in.
package descriptors
