package openapi

import (
	"bytes"
	"encoding/json"
)

// Document is an OpenAPI 3.1 document; its JSON is what tools read. The types below are the objects of the specification
// that Build makes, by their names there.
type Document struct {
	OpenAPI    string             `json:"openapi"`
	Info       Info               `json:"info"`
	Servers    []Server           `json:"servers,omitempty"`
	Tags       []Tag              `json:"tags,omitempty"`
	Paths      Ordered[*PathItem] `json:"paths"`
	Components Components         `json:"components"`
}

// Info is an Info Object.
type Info struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Version     string `json:"version"`
}

// Server is a Server Object.
type Server struct {
	URL string `json:"url"`
}

// Tag is a Tag Object: a service.
type Tag struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// PathItem is a Path Item Object. Operations are by HTTP method.
type PathItem struct {
	Get     *Operation `json:"get,omitempty"`
	Put     *Operation `json:"put,omitempty"`
	Post    *Operation `json:"post,omitempty"`
	Delete  *Operation `json:"delete,omitempty"`
	Options *Operation `json:"options,omitempty"`
	Head    *Operation `json:"head,omitempty"`
	Patch   *Operation `json:"patch,omitempty"`
	Trace   *Operation `json:"trace,omitempty"`
	// Other has the operations of methods that OpenAPI 3.1 has no field for, as additionalOperations of OpenAPI 3.2 does.
	Other Ordered[*Operation] `json:"x-additionalOperations,omitzero"`
}

// Operation is an Operation Object.
type Operation struct {
	Tags        []string              `json:"tags,omitempty"`
	Summary     string                `json:"summary,omitempty"`
	Description string                `json:"description,omitempty"`
	OperationID string                `json:"operationId"`
	Parameters  []*Parameter          `json:"parameters,omitempty"`
	RequestBody *RequestBody          `json:"requestBody,omitempty"`
	Responses   Ordered[*Response]    `json:"responses"`
	Deprecated  bool                  `json:"deprecated,omitempty"`
	Security    []map[string][]string `json:"security,omitempty"`
	// GRPCMethod is the method that the gateway calls: /package.Service/Method.
	GRPCMethod string `json:"x-grpc-method"`
}

// Parameter is a Parameter Object.
type Parameter struct {
	Name        string              `json:"name"`
	In          string              `json:"in"`
	Description string              `json:"description,omitempty"`
	Required    bool                `json:"required,omitempty"`
	Deprecated  bool                `json:"deprecated,omitempty"`
	Schema      *Schema             `json:"schema,omitempty"`
	Content     Ordered[*MediaType] `json:"content,omitzero"`
}

// RequestBody is a Request Body Object.
type RequestBody struct {
	Description string              `json:"description,omitempty"`
	Content     Ordered[*MediaType] `json:"content"`
	Required    bool                `json:"required,omitempty"`
}

// MediaType is a Media Type Object.
type MediaType struct {
	Schema  *Schema `json:"schema,omitempty"`
	Example any     `json:"example,omitempty"`
}

// Response is a Response Object, or a reference to one.
type Response struct {
	Ref         string              `json:"$ref,omitempty"`
	Description string              `json:"description,omitempty"`
	Headers     Ordered[*Header]    `json:"headers,omitzero"`
	Content     Ordered[*MediaType] `json:"content,omitzero"`
}

// Header is a Header Object.
type Header struct {
	Description string  `json:"description,omitempty"`
	Schema      *Schema `json:"schema"`
}

// Components is a Components Object.
type Components struct {
	Schemas         map[string]*Schema        `json:"schemas,omitempty"`
	Responses       map[string]*Response      `json:"responses,omitempty"`
	SecuritySchemes map[string]SecurityScheme `json:"securitySchemes,omitempty"`
}

// SecurityScheme is a Security Scheme Object.
type SecurityScheme struct {
	Type         string `json:"type"`
	Description  string `json:"description,omitempty"`
	Name         string `json:"name,omitempty"`
	In           string `json:"in,omitempty"`
	Scheme       string `json:"scheme,omitempty"`
	BearerFormat string `json:"bearerFormat,omitempty"`
}

// Schema is a Schema Object: JSON Schema, draft 2020-12. The empty one takes every value.
type Schema struct {
	Ref                  string           `json:"$ref,omitempty"`
	Title                string           `json:"title,omitempty"`
	Description          string           `json:"description,omitempty"`
	Type                 Types            `json:"type,omitempty"`
	Format               string           `json:"format,omitempty"`
	ContentEncoding      string           `json:"contentEncoding,omitempty"`
	Examples             []any            `json:"examples,omitempty"`
	Const                any              `json:"const,omitempty"`
	Enum                 []any            `json:"enum,omitempty"`
	Properties           Ordered[*Schema] `json:"properties,omitzero"`
	Required             []string         `json:"required,omitempty"`
	AdditionalProperties *Schema          `json:"additionalProperties,omitempty"`
	PropertyNames        *Schema          `json:"propertyNames,omitempty"`
	MinProperties        *uint64          `json:"minProperties,omitempty"`
	MaxProperties        *uint64          `json:"maxProperties,omitempty"`
	Items                *Schema          `json:"items,omitempty"`
	MinItems             *uint64          `json:"minItems,omitempty"`
	MaxItems             *uint64          `json:"maxItems,omitempty"`
	UniqueItems          bool             `json:"uniqueItems,omitempty"`
	MinLength            *uint64          `json:"minLength,omitempty"`
	MaxLength            *uint64          `json:"maxLength,omitempty"`
	Pattern              string           `json:"pattern,omitempty"`
	Minimum              json.Number      `json:"minimum,omitempty"`
	Maximum              json.Number      `json:"maximum,omitempty"`
	ExclusiveMinimum     json.Number      `json:"exclusiveMinimum,omitempty"`
	ExclusiveMaximum     json.Number      `json:"exclusiveMaximum,omitempty"`
	AllOf                []*Schema        `json:"allOf,omitempty"`
	AnyOf                []*Schema        `json:"anyOf,omitempty"`
	OneOf                []*Schema        `json:"oneOf,omitempty"`
	Not                  *Schema          `json:"not,omitempty"`
	ReadOnly             bool             `json:"readOnly,omitempty"`
	WriteOnly            bool             `json:"writeOnly,omitempty"`
	Deprecated           bool             `json:"deprecated,omitempty"`
}

// Types is the type keyword: one type, or several of which a value has one.
type Types []string

// MarshalJSON writes one type as a string.
func (t Types) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

// Ordered is a JSON object whose members keep their order, as the fields of a message and the methods of a service do.
type Ordered[T any] struct {
	names  []string
	values map[string]T
}

// Set puts a member at the end, or a new value in the place of one that is there.
func (o *Ordered[T]) Set(name string, value T) {
	if o.values == nil {
		o.values = map[string]T{}
	}
	if _, there := o.values[name]; !there {
		o.names = append(o.names, name)
	}
	o.values[name] = value
}

// Get returns a member, the zero value where there is none.
func (o *Ordered[T]) Get(name string) T { return o.values[name] }

// Names returns the members' names in order. The caller must not change the slice.
func (o *Ordered[T]) Names() []string { return o.names }

// Len returns how many members there are.
func (o *Ordered[T]) Len() int { return len(o.names) }

// IsZero reports whether there are none, for omitzero.
func (o Ordered[T]) IsZero() bool { return len(o.names) == 0 }

// MarshalJSON writes the members in order.
func (o Ordered[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range o.names {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(o.values[name])
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// AppendJSON appends the document's JSON.
func (d *Document) AppendJSON(dst []byte) ([]byte, error) {
	text, err := marshal(d)
	if err != nil {
		return dst, err
	}
	return append(dst, text...), nil
}

// marshal is json.Marshal that leaves <, > and & as they are: the document is no part of a page.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
