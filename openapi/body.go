package openapi

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	jsonType   = "application/json"
	linesType  = "application/x-ndjson"
	eventsType = "text/event-stream"
	// anyType is a google.api.HttpBody's, which says itself what type it is.
	anyType  = "*/*"
	httpBody = "google.api.HttpBody"
)

// requestBody describes what a binding takes as a body, nil for nothing.
func (c *call) requestBody() *RequestBody {
	input := c.Method.Descriptor.Input()
	body := &RequestBody{}
	media := &MediaType{}
	var md protoreflect.MessageDescriptor // the body's, when it is a message
	switch fd := input.Fields().ByName(protoreflect.Name(c.Rule.Body)); {
	case c.Rule.Body == "":
		return nil
	case c.Rule.Body == "*":
		md = input
		media.Schema, body.Required = c.messageBody(md, c.variables(nil))
		media.Example = c.exampleOf(md, c.variables(nil))
	case fd == nil:
		return nil
	default:
		body.Description = comment(fd)
		if !fd.IsList() && !fd.IsMap() {
			md = fd.Message()
		}
		if md != nil {
			media.Schema, body.Required = c.messageBody(md, c.variables(fieldPath{fd}))
			media.Example = c.exampleOf(md, c.variables(fieldPath{fd}))
		} else {
			media.Schema = c.property(fd)
			media.Schema.Description = ""
		}
		body.Required = body.Required || required(fd)
	}
	if md != nil && md.FullName() == httpBody {
		body.Content.Set(anyType, &MediaType{Schema: binary()})
		return body
	}
	body.Content.Set(jsonType, media)
	if c.Method.Descriptor.IsStreamingClient() {
		body.Description = paragraphs(body.Description, "A stream of messages: JSON values one after the other, each of this schema.")
		body.Content.Set(linesType, media)
	}
	return body
}

// messageBody is the schema of a body, without the fields that the path has, and whether there must be one.
func (c *call) messageBody(md protoreflect.MessageDescriptor, without []fieldPath) (*Schema, bool) {
	if len(without) == 0 || wellKnown(md.FullName()) != nil {
		return c.message(md), requires(md, nil)
	}
	return c.object(md, without), requires(md, without)
}

// variables returns the fields below prefix that the path has, without prefix.
func (c *call) variables(prefix fieldPath) []fieldPath {
	var list []fieldPath
	for _, s := range c.path.segments {
		field := c.vars[s.field]
		if len(field) <= len(prefix) || len(prefix) > 0 && field[0] != prefix[0] {
			continue
		}
		list = append(list, field[len(prefix):])
	}
	return list
}

// binary is the schema of bytes that are no JSON.
func binary() *Schema {
	return &Schema{Type: Types{"string"}, Format: "binary"}
}

// response describes the answer of a call that went well.
func (c *call) response() *Response {
	output := c.Method.Descriptor.Output()
	fd := output.Fields().ByName(protoreflect.Name(c.Rule.ResponseBody))
	md := output
	if fd != nil {
		md = nil
		if !fd.IsList() && !fd.IsMap() {
			md = fd.Message()
		}
	}
	r := &Response{Description: "The answer."}
	if md != nil && md.FullName() == httpBody {
		r.Content.Set(anyType, &MediaType{Schema: binary()})
		return r
	}
	media := &MediaType{}
	switch {
	case fd == nil:
		media.Schema = c.message(output)
	default:
		media.Schema = c.property(fd)
	}
	if !c.Method.Descriptor.IsStreamingServer() {
		r.Content.Set(jsonType, media)
		return r
	}
	r.Description = "A stream of messages, each of this schema, as they come: one a line, or one an event for clients that accept `" + eventsType +
		"`. A stream that fails after its first message ends with a line `{\"error\": …}`, or an event `error`, that holds a google.rpc.Status."
	r.Content.Set(linesType, media)
	r.Content.Set(eventsType, media)
	return r
}
