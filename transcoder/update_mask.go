package transcoder

import (
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/descriptors"
	"github.com/crossgate/crossgate/transcoder/codec"
)

// updateMask fills the update_mask of a PATCH that came without one from the fields that its body has (AIP-134), as
// grpc-gateway does: a backend would otherwise take the fields that are not in the body for ones to clear.
type updateMask struct {
	resource protoreflect.MessageDescriptor // what the body is
	paths    fieldPath                      // update_mask.paths
}

// compileUpdateMask returns nil for a binding that has nothing to fill.
func compileUpdateMask(input protoreflect.MessageDescriptor, b descriptors.Binding) *updateMask {
	if b.HTTPMethod != http.MethodPatch {
		return nil
	}
	body := input.Fields().ByName(protoreflect.Name(b.Body))
	mask := input.Fields().ByName("update_mask")
	if body == nil || body.Message() == nil || body.IsList() || body.IsMap() ||
		mask == nil || mask.IsList() || mask.Message() == nil || mask.Message().FullName() != "google.protobuf.FieldMask" {
		return nil
	}
	paths := mask.Message().Fields().ByName("paths")
	if paths == nil {
		return nil
	}
	return &updateMask{resource: body.Message(), paths: fieldPath{mask, paths}}
}

// fill appends the paths of a body's fields to the parameters of a request, unless one of them gives a mask. The fields are
// those of the JSON in body, and of a form, of which the first ofForm parameters are.
func (u *updateMask) fill(params []codec.Param, ofForm int, body []byte) ([]codec.Param, error) {
	for i := range params {
		if params[i].Path[0] == u.paths[0] && params[i].Value != "" {
			return params, nil
		}
	}
	paths, bad := codec.Paths(u.resource, body)
	if bad != nil {
		bad.Field = u.paths[0].JSONName()
		return params, bad
	}
	for i := range params[:ofForm] {
		paths = append(paths, namesOf(params[i].Path[1:]))
	}
	slices.Sort(paths)
	for _, p := range slices.Compact(paths) {
		params = append(params, codec.Param{Path: u.paths, Value: p})
	}
	return params, nil
}

// namesOf is a path in the names of the .proto file.
func namesOf(path fieldPath) string {
	names := make([]string, len(path))
	for i, fd := range path {
		names[i] = string(fd.Name())
	}
	return strings.Join(names, ".")
}
