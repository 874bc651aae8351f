package openapi

import "google.golang.org/protobuf/reflect/protoreflect"

// wellKnown is the schema of a type for which the protobuf JSON mapping has a form of its own, nil for others.
func (r *route) wellKnown(name protoreflect.FullName) *Schema {
	switch name {
	case "google.protobuf.Timestamp":
		return &Schema{Type: Types{"string"}, Format: "date-time"}
	case "google.protobuf.Duration":
		return &Schema{Type: Types{"string"}, Pattern: `^-?[0-9]+(\.[0-9]{1,9})?s$`, Description: "Seconds, with up to nine digits behind the point, and an s: `1.5s`."}
	case "google.protobuf.FieldMask":
		return &Schema{Type: Types{"string"}, Description: "Paths of fields, with commas between them: `title,dimensions.widthCm`."}
	case "google.protobuf.Struct":
		return &Schema{Type: Types{"object"}, Description: "Any JSON object."}
	case "google.protobuf.Value":
		return &Schema{Description: "Any JSON value."}
	case "google.protobuf.ListValue":
		return &Schema{Type: Types{"array"}, Description: "Any JSON array."}
	case "google.protobuf.Empty":
		return &Schema{Type: Types{"object"}}
	case "google.protobuf.Any":
		return anything()
	case "google.protobuf.DoubleValue":
		return &Schema{Type: Types{"number", "null"}, Format: "double"}
	case "google.protobuf.FloatValue":
		return &Schema{Type: Types{"number", "null"}, Format: "float"}
	case "google.protobuf.Int64Value":
		return &Schema{Type: Types{r.int64Type(), "null"}, Format: "int64"}
	case "google.protobuf.UInt64Value":
		return &Schema{Type: Types{r.int64Type(), "null"}, Format: "uint64"}
	case "google.protobuf.Int32Value":
		return &Schema{Type: Types{"integer", "null"}, Format: "int32"}
	case "google.protobuf.UInt32Value":
		return &Schema{Type: Types{"integer", "null"}, Format: "uint32", Minimum: "0"}
	case "google.protobuf.BoolValue":
		return &Schema{Type: Types{"boolean", "null"}}
	case "google.protobuf.StringValue":
		return &Schema{Type: Types{"string", "null"}}
	case "google.protobuf.BytesValue":
		return &Schema{Type: Types{"string", "null"}, Format: "byte", ContentEncoding: "base64"}
	}
	return nil
}

// anything is the schema of a google.protobuf.Any.
func anything() *Schema {
	s := &Schema{Type: Types{"object"}, Required: []string{"@type"}, Description: "A message of any type, with the type's URL beside its fields, or beside `value` for a type with a JSON form of its own."}
	s.Properties.Set("@type", &Schema{Type: Types{"string"}})
	return s
}
