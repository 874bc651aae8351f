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
	if f.status == "429" {
		r.Headers.Set("Retry-After", &Header{Description: "Seconds until there is room.", Schema: &Schema{Type: Types{"integer"}}})
	}
	b.doc.Components.Responses[f.component] = r
}

// statusName is the component of the error model. No message of a descriptor set is called so: it has no package.
const statusName = "Error"

// status refers to the schema of google.rpc.Status, as the gateway writes it whatever the route's JSON options are.
func (b *builder) status() *Schema {
	if b.doc.Components.Schemas[statusName] == nil {
		s := &Schema{Title: "Status", Type: Types{"object"}, Description: "google.rpc.Status: the gateway's own errors, and those of the services behind it."}
		s.Properties.Set("code", &Schema{Type: Types{"integer"}, Format: "int32", Description: "A google.rpc.Code, such as 3 for INVALID_ARGUMENT and 5 for NOT_FOUND."})
		s.Properties.Set("message", &Schema{Type: Types{"string"}})
		s.Properties.Set("details", &Schema{Type: Types{"array"}, Items: wellKnown("google.protobuf.Any")})
		s.Required = []string{"code", "message"}
		b.names[statusName] = true
		b.doc.Components.Schemas[statusName] = s
	}
	return &Schema{Ref: "#/components/schemas/" + statusName}
}
