// Package openapi describes gRPC methods and their HTTP bindings as an OpenAPI 3.1 document: paths from templates,
// parameters from the fields that neither path nor body binds, schemas from messages by the protobuf JSON mapping as
// the route has it, descriptions from comments, constraints from google.api.field_behavior and buf.validate, and
// security from the route's auth.
//
// [Build] is a pure function: the same [API] gives the same bytes. It serves nothing and knows no listener; the page
// that shows a document is in openapi/page.
//
// Types to know: [API] goes in, [Document] comes out.
package openapi
