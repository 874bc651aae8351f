package connectconformance

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// The suite's messages are in an internal package of its module, so that this one reads and writes the few fields it
// needs: connectrpc/conformance/v1/server_compat.proto.

// serverRequest is a ServerCompatRequest: the server to be started.
type serverRequest struct {
	protocol, httpVersion uint64
	tls                   bool
	clientCA              []byte // PEM, empty for no client certificates
	limit                 uint64 // of a message
	certificate, key      []byte // PEM
}

// What the reference server is asked for.
const (
	protocolGRPC = 2
	httpVersion2 = 2
)

func parseServerRequest(raw []byte) (*serverRequest, error) {
	r := new(serverRequest)
	err := eachField(raw, func(num protowire.Number, varint uint64, bytes []byte) error {
		switch num {
		case 1:
			r.protocol = varint
		case 2:
			r.httpVersion = varint
		case 4:
			r.tls = varint != 0
		case 5:
			r.clientCA = bytes
		case 6:
			r.limit = varint
		case 7:
			return eachField(bytes, func(num protowire.Number, _ uint64, bytes []byte) error {
				switch num {
				case 1:
					r.certificate = bytes
				case 2:
					r.key = bytes
				}
				return nil
			})
		}
		return nil
	})
	return r, err
}

// append appends the request in wire format. It asks for no TLS.
func (r *serverRequest) append(dst []byte) []byte {
	for num, v := range map[protowire.Number]uint64{1: r.protocol, 2: r.httpVersion, 6: r.limit} {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
	}
	return dst
}

// serverResponse is a ServerCompatResponse: where the server is.
type serverResponse struct {
	host        string
	port        uint64
	certificate []byte
}

func parseServerResponse(raw []byte) (*serverResponse, error) {
	r := new(serverResponse)
	err := eachField(raw, func(num protowire.Number, varint uint64, bytes []byte) error {
		switch num {
		case 1:
			r.host = string(bytes)
		case 2:
			r.port = varint
		}
		return nil
	})
	return r, err
}

func (r *serverResponse) append(dst []byte) []byte {
	dst = protowire.AppendString(protowire.AppendTag(dst, 1, protowire.BytesType), r.host)
	dst = protowire.AppendVarint(protowire.AppendTag(dst, 2, protowire.VarintType), r.port)
	if len(r.certificate) > 0 {
		dst = protowire.AppendBytes(protowire.AppendTag(dst, 3, protowire.BytesType), r.certificate)
	}
	return dst
}

// eachField calls f for each field, with its value as far as it is one of these two.
func eachField(raw []byte, f func(num protowire.Number, varint uint64, bytes []byte) error) error {
	for len(raw) > 0 {
		num, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		var varint uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(num, kind, raw)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		if err := f(num, varint, bytes); err != nil {
			return err
		}
	}
	return nil
}

// readMessage reads a message behind its length in four bytes, as the suite's programs exchange them.
func readMessage(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > 1<<20 {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	raw := make([]byte, n)
	_, err := io.ReadFull(from, raw)
	return raw, err
}

func writeMessage(to io.Writer, raw []byte) error {
	_, err := to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...))
	return err
}
