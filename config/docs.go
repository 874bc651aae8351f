package config

// DocsRoute serves the documentation of gRPC routes' REST side: an OpenAPI 3.1 document, and a page that shows it and
// tries its calls. Both follow the descriptors in force.
type DocsRoute struct {
	Pos Position `yaml:"-"`

	// The path of the OpenAPI document.
	OpenAPI string `yaml:"openapi" default:"/openapi.json"`
	// The path of the page; its files are below it. off for no page.
	Page string `yaml:"page" default:"/docs"`
	// The gRPC routes to describe. Left out: all. Of these a caller is shown those that the host name of its request reaches.
	Routes []string `yaml:"routes"`
	// The API's name.
	Title string `yaml:"title" default:"API"`
	// The API's version, as its owners count it.
	Version string `yaml:"version" default:"1"`
	// What the API is, in Markdown (CommonMark).
	Description string `yaml:"description"`
	// Base URLs of the API. Left out: where the document came from.
	Servers []string `yaml:"servers"`
}
