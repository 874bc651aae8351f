package codec

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxPathDepth bounds how deep a path of a field mask reaches, and maxPaths what all of them take: paths repeat the names
	// above them, so that a small body could make huge ones.
	maxPathDepth = 64
	maxPaths     = 64 << 10
)

// Paths returns the paths of the fields that body has, the JSON of a message md, in the form of google.protobuf.FieldMask:
// names as in the .proto file, sorted. A path ends at a list, a map, a message that is empty or null, and a well-known type
// with a JSON form of its own. Fields that md does not have are left out. What is no JSON has no paths: reading the message
// says why. An error is for a body with more fields than a mask should name.
func Paths(md protoreflect.MessageDescriptor, body []byte) ([]string, *Error) {
	w := pathWalk{decoder: decoder{in: body}}
	if i := skipSpace(body, 0); i < len(body) && body[i] == '{' && formOf(md) == formObject {
		if w.message(md, i, maxPathDepth) < 0 && !w.tooMany {
			return nil, nil
		}
	}
	if w.tooMany {
		return nil, &Error{Reason: "the body has more fields, or more deeply nested ones, than a field mask may name"}
	}
	slices.Sort(w.paths)
	return w.paths, nil
}

// pathWalk goes through an object and gathers paths. It reads JSON as a decoder does, and writes nothing.
type pathWalk struct {
	decoder
	paths   []string
	path    []byte // of the object that is being read, with a dot behind it
	size    int    // of all paths
	tooMany bool
}

// message reads the members of the object at i, which is a message md.
func (w *pathWalk) message(md protoreflect.MessageDescriptor, i, depth int) int {
	if depth--; depth < 0 {
		w.tooMany = true
		return -1
	}
	for i = skipSpace(w.in, i+1); ; {
		var name []byte
		if name, i = w.string(i); i < 0 {
			return i
		}
		fd := md.Fields().ByJSONName(string(name))
		if fd == nil {
			fd = md.Fields().ByTextName(string(name))
		}
		if i = w.colon(i); i < 0 {
			return i
		}
		i = skipSpace(w.in, i)
		switch {
		case fd == nil:
			i = w.skip(i, defaultDepth)
		case w.enters(fd, i):
			outer := len(w.path)
			w.path = append(append(w.path, fd.Name()...), '.')
			i = w.message(fd.Message(), i, depth)
			w.path = w.path[:outer]
		default:
			w.add(fd)
			i = w.skip(i, defaultDepth)
		}
		if i < 0 || w.tooMany {
			return -1
		}
		switch i = skipSpace(w.in, i); {
		case i < len(w.in) && w.in[i] == ',':
			i = skipSpace(w.in, i+1)
		case i < len(w.in) && w.in[i] == '}':
			return i + 1
		default:
			return w.failToken(i, "a comma or the end")
		}
	}
}

// enters reports whether the value at i is an object of a message with members of its own.
func (w *pathWalk) enters(fd protoreflect.FieldDescriptor, i int) bool {
	if fd.Message() == nil || fd.IsList() || fd.IsMap() || formOf(fd.Message()) != formObject || i >= len(w.in) || w.in[i] != '{' {
		return false
	}
	i = skipSpace(w.in, i+1)
	return i < len(w.in) && w.in[i] != '}'
}

func (w *pathWalk) add(fd protoreflect.FieldDescriptor) {
	path := string(w.path) + string(fd.Name())
	w.paths = append(w.paths, path)
	w.size += len(path)
	w.tooMany = w.size > maxPaths
}
