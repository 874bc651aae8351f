package openapi

// failure is one way a call ends badly.
type failure struct{ status, component, description string }

// failures returns those of a call: any, and what the route adds.
func (c *call) failures() []failure {
	list := []failure{{"default", "Error", "The call failed."}}
	if c.Auth != nil {
		list = append(list,
			failure{"401", "Unauthenticated", "The credential is missing or not valid."},
			failure{"403", "PermissionDenied", "The caller may not do this."})
	}
	if c.Limited {
		list = append(list, failure{"429", "TooManyRequests", "More calls than the caller has room for."})
	}
	for _, f := range list {
		c.failure(f)
	}
	return list
}

// failure adds the component of a failure to the document.
func (b *builder) failure(f failure) {
	if b.doc.Components.Responses[f.component] != nil {
		return
	}
	r := &Response{Description: f.description}
	r.Content.Set(jsonType, &MediaType{Schema: b.status()})
	r.Content.Set(problemType, &MediaType{Schema: b.problem()})
	if f.status == "429" {
		r.Headers.Set("Retry-After", &Header{Description: "Seconds until there is room.", Schema: &Schema{Type: Types{"integer"}}})
	}
	b.doc.Components.Responses[f.component] = r
}

// The components of the error models. A message without a package that is called so gets another name.
const (
	statusName  = "Error"
	problemName = "Problem"
)

// status refers to the schema of google.rpc.Status, as the gateway writes it whatever the route's JSON options are.
func (b *builder) status() *Schema {
	return b.model(statusName, func() *Schema {
		s := &Schema{Title: "Status", Type: Types{"object"}, Required: []string{"code", "message"},
			Description: "google.rpc.Status: the gateway's own errors, and those of the services behind it."}
		s.Properties.Set("code", code())
		s.Properties.Set("message", &Schema{Type: Types{"string"}})
		s.Properties.Set("details", &Schema{Type: Types{"array"}, Items: anything()})
		return s
	})
}

// problem refers to the same for clients that prefer problems (RFC 9457).
func (b *builder) problem() *Schema {
	return b.model(problemName, func() *Schema {
		s := &Schema{Title: "Problem", Type: Types{"object"}, Required: []string{"type", "title", "status"},
			Description: "An error as RFC 9457 has it, for clients whose Accept prefers it."}
		s.Properties.Set("type", &Schema{Type: Types{"string"}, Format: "uri-reference"})
		s.Properties.Set("title", &Schema{Type: Types{"string"}})
		s.Properties.Set("status", &Schema{Type: Types{"integer"}, Description: "The HTTP status."})
		s.Properties.Set("detail", &Schema{Type: Types{"string"}})
		s.Properties.Set("instance", &Schema{Type: Types{"string"}, Format: "uri-reference"})
		s.Properties.Set("code", code())
		s.Properties.Set("details", &Schema{Type: Types{"array"}, Items: anything()})
		return s
	})
}

func code() *Schema {
	return &Schema{Type: Types{"integer"}, Format: "int32", Description: "A google.rpc.Code, such as 3 for INVALID_ARGUMENT and 5 for NOT_FOUND."}
}

// model refers to a component of the gateway's own.
func (b *builder) model(name string, make func() *Schema) *Schema {
	if b.doc.Components.Schemas[name] == nil {
		b.doc.Components.Schemas[name] = make()
	}
	return &Schema{Ref: componentPrefix + name}
}
