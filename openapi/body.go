package openapi

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/transcoder"
)

const (
	jsonType   = "application/json"
	linesType  = "application/x-ndjson"
	eventsType = "text/event-stream"
	// problemType is what errors are for clients that prefer it.
	problemType = "application/problem+json"
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
	if c.Forms != transcoder.RefuseForms && md != nil && !c.Method.Descriptor.IsStreamingClient() {
		c.forms(body, md)
	}
	if c.Method.Descriptor.IsStreamingClient() {
		body.Description = paragraphs(body.Description, "A stream of messages: JSON values one after the other, each of this schema.")
		body.Content.Set(linesType, media)
	}
	return body
}

// messageBody is the schema of a body, without the fields that the path has, and whether there must be one.
func (c *call) messageBody(md protoreflect.MessageDescriptor, without []fieldPath) (*Schema, bool) {
	if len(without) == 0 || c.wellKnown(md.FullName()) != nil {
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
	r.Description = "A stream of messages, as they come. One that fails after its first message ends with `{\"error\": …}`, or an event `error`, " +
		"that holds a google.rpc.Status."
	r.Content = c.framings(media.Schema)
	return r
}

// framings describes the forms of a stream whose messages are of one schema, that of clients without a wish first.
func (c *call) framings(message *Schema) Ordered[*MediaType] {
	lines := &MediaType{Schema: described(message, "A line for each message.")}
	array := &MediaType{Schema: &Schema{Type: Types{"array"}, Items: message}}
	if c.Framing == transcoder.Results {
		result := &Schema{Description: "A line for each message.", Type: Types{"object"}}
		result.Properties.Set("result", message)
		result.Properties.Set("error", c.status())
		lines = &MediaType{Schema: result}
		array = lines
	}
	all := map[string]*MediaType{jsonType: array, linesType: lines, eventsType: {Schema: described(message, "An event for each message.")}}
	first := linesType
	switch c.Framing {
	case transcoder.Results, transcoder.Array:
		first = jsonType
	case transcoder.Events:
		first = eventsType
	}
	var content Ordered[*MediaType]
	for _, name := range [...]string{first, linesType, eventsType, jsonType} {
		content.Set(name, all[name])
	}
	return content
}

// described is a schema with words of one use of it.
func described(s *Schema, words string) *Schema {
	with := *s
	with.Description = paragraphs(words, s.Description)
	return &with
}
