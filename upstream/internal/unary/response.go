package unary

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/crossgate/crossgate/fault"
)

// MaxHeaderList bounds the header fields of one answer, as they count in RFC 9113 section 6.5.2.
const MaxHeaderList = 256 << 10

// response is what an answer's headers and trailers have said so far.
type response struct {
	http       int // the HTTP status, 0 until it is there
	notGRPC    bool
	compressed string // the encoding, if it is not identity
	hasStatus  bool
	code       codes.Code
	message    string
	details    []byte
	size       int // of the header list that is being read
}

// field takes one header or trailer field. md is where metadata goes.
func (s *stream) field(f hpack.HeaderField, md *metadata.MD) {
	a := &s.answer
	a.size += len(f.Name) + len(f.Value) + 32
	if a.size > MaxHeaderList {
		return
	}
	switch f.Name {
	case ":status":
		a.http, _ = strconv.Atoi(f.Value)
	case "content-type":
		a.notGRPC = !isGRPC(f.Value)
	case "grpc-encoding":
		if f.Value != "identity" {
			a.compressed = f.Value
		}
	case "grpc-status":
		n, err := strconv.ParseUint(f.Value, 10, 32)
		if err != nil {
			n = uint64(codes.Unknown)
		}
		a.hasStatus, a.code = true, codes.Code(n)
	case "grpc-message":
		a.message = unescape(f.Value)
	case "grpc-retry-pushback-ms":
		s.reply.Pushback = f.Value
	case "grpc-status-details-bin":
		a.details, _ = decodeBinary(f.Value)
	default:
		if strings.HasPrefix(f.Name, ":") || strings.HasPrefix(f.Name, "grpc-") {
			return
		}
		value := f.Value
		if strings.HasSuffix(f.Name, "-bin") {
			b, err := decodeBinary(value)
			if err != nil {
				return
			}
			value = string(b)
		}
		if *md == nil {
			*md = metadata.MD{}
		}
		(*md)[f.Name] = append((*md)[f.Name], value)
	}
}

// isGRPC reports whether a content type is application/grpc, or begins so with + or ; after it.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

func decodeBinary(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}

// unescape decodes a grpc-message: %XX is a byte, and what is no such escape stands for itself (PROTOCOL-HTTP2.md).
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// result is what a call that has ended comes to: nil where the backend said OK and sent one message.
func (s *stream) result() error {
	a := &s.answer
	switch {
	case a.size > MaxHeaderList:
		return fault.New(fault.UpstreamAnswerInvalid, "the backend's headers are too large")
	case !a.hasStatus && a.http != http.StatusOK:
		return invalid(fault.CodeOfHTTP(a.http), fmt.Sprintf("the backend answered with HTTP status %d", a.http))
	case !a.hasStatus && a.notGRPC:
		return invalid(codes.Unknown, "the backend's answer is not gRPC")
	case !a.hasStatus:
		return fault.New(fault.UpstreamAnswerInvalid, "the backend ended the call without a status")
	case a.code == codes.OK && s.received != whole:
		return fault.New(fault.UpstreamAnswerInvalid, "the backend ended the call without an answer")
	case a.code == codes.OK:
		return nil
	}
	p := &spb.Status{}
	if a.details == nil || proto.Unmarshal(a.details, p) != nil || codes.Code(p.Code) != a.code {
		p = &spb.Status{Code: int32(a.code), Message: a.message}
	}
	return status.ErrorProto(p)
}

// resetError is the status of a call that the backend reset (PROTOCOL-HTTP2.md, Errors).
func resetError(code uint32) error {
	switch code {
	case codeRefusedStream:
		return errNotSent
	case codeCancel:
		return errCanceled
	case codeEnhanceYourCalm:
		return invalid(codes.ResourceExhausted, "the backend has too much to do")
	case codeInadequate:
		return invalid(codes.PermissionDenied, "the backend demands more transport security")
	}
	return fault.Errorf(fault.UpstreamAnswerInvalid, "the backend reset the call with code %d", code)
}

// invalid is the error of an answer that gRPC has a code of its own for.
func invalid(code codes.Code, message string) error {
	return &fault.Error{Reason: fault.UpstreamAnswerInvalid, Code: code, Message: message}
}
