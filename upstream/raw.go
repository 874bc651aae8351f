package upstream

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that rawCodec hands messages to
	"google.golang.org/grpc/mem"
)

// rawCodec passes wire bytes through without looking at them. Messages that are no bytes, those of generated clients,
// go to grpc-go's own codec. Its name is that codec's: on the wire the two are the same.
type rawCodec struct{}

var protoCodec = encoding.GetCodecV2("proto")

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(mem.Buffer); ok {
		// grpc-go frees what it is given once it is written, which may be after the call.
		b.Ref()
		return mem.BufferSlice{b}, nil
	}
	return protoCodec.Marshal(v)
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*mem.Buffer); ok {
		if *b != nil {
			return fmt.Errorf("upstream: the buffer received into is still in use")
		}
		*b = data.MaterializeToBuffer(mem.DefaultBufferPool())
		return nil
	}
	return protoCodec.Unmarshal(data, v)
}
