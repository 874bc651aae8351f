package descriptors

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"go.yaml.in/yaml/v3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/config"
)

// ruleSet is the HTTP rules of the configuration, by selector. A rule stands in place of the method's annotation.
type ruleSet struct {
	bySelector map[protoreflect.FullName]placedRule
}

type placedRule struct {
	*annotations.HttpRule
	pos config.Position
}

// loadRules reads the rules of the configuration and of the service configuration files it names.
func loadRules(cfg *config.HTTP) (*ruleSet, error) {
	s := &ruleSet{bySelector: map[protoreflect.FullName]placedRule{}}
	var errs config.Errors
	for _, path := range cfg.Files {
		pos := config.Position{File: string(path)}
		rules, err := readServiceConfig(string(path))
		if err != nil {
			errs.Add(pos, err)
		}
		for _, r := range rules {
			s.add(&errs, r, pos)
		}
	}
	for i := range cfg.Rules {
		s.add(&errs, httpRule(&cfg.Rules[i]), cfg.Rules[i].Pos)
	}
	return s, errs.Err()
}

func (s *ruleSet) add(errs *config.Errors, r *annotations.HttpRule, pos config.Position) {
	name := protoreflect.FullName(r.Selector)
	if !name.IsValid() {
		errs.Add(pos, fmt.Errorf("http rule: selector %q is not package.Service.Method", r.Selector))
		return
	}
	if other, ok := s.bySelector[name]; ok {
		errs.Add(pos, fmt.Errorf("http rule: %s has a rule already, at %s", name, other.pos))
		return
	}
	s.bySelector[name] = placedRule{r, pos}
}

// readServiceConfig returns the http.rules of a google.api.Service in YAML.
func readServiceConfig(path string) ([]*annotations.HttpRule, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Type string
		HTTP map[string]any `yaml:"http"`
	}
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if doc.Type != "google.api.Service" {
		return nil, fmt.Errorf("type is %q, expected google.api.Service", doc.Type)
	}
	asJSON, err := json.Marshal(doc.HTTP)
	if err != nil {
		return nil, err
	}
	var rules annotations.Http
	if err := protojson.Unmarshal(asJSON, &rules); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return rules.Rules, nil
}

func httpRule(c *config.HTTPRule) *annotations.HttpRule {
	r := &annotations.HttpRule{Selector: c.Selector, Body: c.Body, ResponseBody: c.ResponseBody}
	switch {
	case c.Get != "":
		r.Pattern = &annotations.HttpRule_Get{Get: c.Get}
	case c.Put != "":
		r.Pattern = &annotations.HttpRule_Put{Put: c.Put}
	case c.Post != "":
		r.Pattern = &annotations.HttpRule_Post{Post: c.Post}
	case c.Delete != "":
		r.Pattern = &annotations.HttpRule_Delete{Delete: c.Delete}
	case c.Patch != "":
		r.Pattern = &annotations.HttpRule_Patch{Patch: c.Patch}
	case c.Custom != nil:
		r.Pattern = &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Kind: c.Custom.Kind, Path: c.Custom.Path}}
	}
	for i := range c.AdditionalBindings {
		r.AdditionalBindings = append(r.AdditionalBindings, httpRule(&c.AdditionalBindings[i]))
	}
	return r
}

// bindings returns the HTTP bindings of a method: the configuration's, else those of its annotation.
func (s *ruleSet) bindings(md protoreflect.MethodDescriptor) ([]Binding, error) {
	placed, ok := s.bySelector[md.FullName()]
	if !ok {
		rule, has := proto.GetExtension(md.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !has || rule == nil {
			return nil, nil
		}
		placed.HttpRule = rule
	}
	var list []Binding
	add := func(r *annotations.HttpRule) error {
		b, err := binding(md, r)
		if err != nil {
			return config.Errorf(placed.pos, "http rule of %s: %w", md.FullName(), err)
		}
		list = append(list, b)
		return nil
	}
	if err := add(placed.HttpRule); err != nil {
		return nil, err
	}
	for _, more := range placed.AdditionalBindings {
		if len(more.AdditionalBindings) > 0 {
			return nil, config.Errorf(placed.pos, "http rule of %s: additional_bindings may not have additional_bindings of their own", md.FullName())
		}
		if err := add(more); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func binding(md protoreflect.MethodDescriptor, r *annotations.HttpRule) (Binding, error) {
	b := Binding{Body: r.Body, ResponseBody: r.ResponseBody}
	switch p := r.Pattern.(type) {
	case *annotations.HttpRule_Get:
		b.HTTPMethod, b.Template = http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		b.HTTPMethod, b.Template = http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		b.HTTPMethod, b.Template = http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		b.HTTPMethod, b.Template = http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		b.HTTPMethod, b.Template = http.MethodPatch, p.Patch
	case *annotations.HttpRule_Custom:
		b.HTTPMethod, b.Template = p.Custom.GetKind(), p.Custom.GetPath()
	default:
		return b, fmt.Errorf("there is no verb: one of get, put, post, delete, patch and custom is needed")
	}
	if b.Body != "" && b.Body != "*" && md.Input().Fields().ByName(protoreflect.Name(b.Body)) == nil {
		return b, fmt.Errorf("body: %s has no field %q", md.Input().FullName(), b.Body)
	}
	if b.ResponseBody != "" && md.Output().Fields().ByName(protoreflect.Name(b.ResponseBody)) == nil {
		return b, fmt.Errorf("response_body: %s has no field %q", md.Output().FullName(), b.ResponseBody)
	}
	return b, nil
}

// unused names the rules whose selector is no method of the set. They may be for a set that comes later.
func (s *ruleSet) unused(set *Set) []string {
	var list []string
	for name, r := range s.bySelector {
		service := set.byName[name.Parent()]
		if service == nil || service.Descriptor.Methods().ByName(name.Name()) == nil {
			list = append(list, fmt.Sprintf("%s: http rule: no descriptor set has the method %s", r.pos, name))
		}
	}
	return list
}
