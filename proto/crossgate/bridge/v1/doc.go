// Package bridgev1 is the generated Go of bridge.proto: the shape of what gateways and services say to each other on
// the bus. It documents the contract; package wsbridge/bus reads and writes it.
package bridgev1
