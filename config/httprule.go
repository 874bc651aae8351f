package config

// HTTP holds HTTP rules outside .proto files (google.api.Http).
type HTTP struct {
	Pos Position `yaml:"-"`

	// Rules, as google.api.Http has them. A rule for a method replaces its annotation; of several the last one counts, and these come after those of files.
	Rules []HTTPRule `yaml:"rules"`
	// Service configuration files (type: google.api.Service) whose http.rules are read as rules.
	Files []Path `yaml:"files"`
}

// HTTPRule is a google.api.HttpRule.
type HTTPRule struct {
	Pos Position `yaml:"-"`

	// The methods: full names as package.Service.Method, or package.Service.*, package.* and *, separated by commas.
	Selector string `yaml:"selector"`
	// The path template of a GET binding.
	Get string `yaml:"get"`
	// The path template of a PUT binding.
	Put string `yaml:"put"`
	// The path template of a POST binding.
	Post string `yaml:"post"`
	// The path template of a DELETE binding.
	Delete string `yaml:"delete"`
	// The path template of a PATCH binding.
	Patch string `yaml:"patch"`
	// Another verb.
	Custom *CustomVerb `yaml:"custom"`
	// The request field that the body is, "*" for the whole message, empty for none.
	Body string `yaml:"body" empty:"true"`
	// The response field that the answer is, empty for the whole message.
	ResponseBody string `yaml:"response_body" empty:"true"`
	// More bindings of the same method; these have none of their own.
	AdditionalBindings []HTTPRule `yaml:"additional_bindings"`
}

// CustomVerb is a google.api.CustomHttpPattern.
type CustomVerb struct {
	Pos Position `yaml:"-"`

	// The HTTP method, or "*" for any.
	Kind string `yaml:"kind" required:"true"`
	// The path template.
	Path string `yaml:"path" required:"true"`
}
