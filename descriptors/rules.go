package descriptors

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/crossgate/crossgate/config"
)

// ruleSet is the HTTP rules of the configuration, by selector. A rule stands in place of the method's annotation.
type ruleSet struct {
	bySelector map[protoreflect.FullName]placedRule
	warnings   []string
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
		c, err := readServiceConfig(string(path))
		errs.Add(config.Position{}, err)
		if err != nil {
			continue
		}
		for _, r := range c.rules {
			s.add(&errs, r)
		}
		if c.fullyDecode.Line > 0 {
			s.warnings = append(s.warnings, c.fullyDecode.String()+
				": fully_decode_reserved_expansion is ignored: an escaped slash in a variable of several segments stays escaped")
		}
	}
	for i := range cfg.Rules {
		s.add(&errs, placedRule{httpRule(&cfg.Rules[i]), cfg.Rules[i].Pos})
	}
	return s, errs.Err()
}

func (s *ruleSet) add(errs *config.Errors, r placedRule) {
	name := protoreflect.FullName(r.Selector)
	if !name.IsValid() || name.Parent() == "" {
		errs.Add(r.pos, fmt.Errorf("http rule: selector %q is not package.Service.Method", r.Selector))
		return
	}
	if other, ok := s.bySelector[name]; ok {
		errs.Add(r.pos, fmt.Errorf("http rule: %s has a rule already, at %s", name, other.pos))
		return
	}
	// What is wrong with a rule whatever its method is said at once, although the method may come later.
	for _, one := range append([]*annotations.HttpRule{r.HttpRule}, r.AdditionalBindings...) {
		if _, err := pattern(one); err != nil {
			errs.Add(r.pos, fmt.Errorf("http rule of %s: %w", name, err))
			return
		}
	}
	s.bySelector[name] = r
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

// bindings returns the HTTP bindings of a method: the configuration's, else those of its annotation. source is where the
// annotation is from.
func (s *ruleSet) bindings(source string, md protoreflect.MethodDescriptor) ([]Binding, error) {
	rule, ok := s.bySelector[md.FullName()]
	wrong := func(err error) error { return config.Errorf(rule.pos, "http rule of %s: %w", md.FullName(), err) }
	if !ok {
		annotation, has := proto.GetExtension(md.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !has || annotation == nil {
			return nil, nil
		}
		rule.HttpRule = annotation
		wrong = func(err error) error {
			return fmt.Errorf("descriptors: %s: google.api.http annotation of %s: %w", source, md.FullName(), err)
		}
	}
	first, err := binding(md, rule.HttpRule)
	if err != nil {
		return nil, wrong(err)
	}
	list := []Binding{first}
	for _, more := range rule.AdditionalBindings {
		if len(more.AdditionalBindings) > 0 {
			return nil, wrong(errors.New("additional_bindings may not have additional_bindings of their own"))
		}
		b, err := binding(md, more)
		if err != nil {
			return nil, wrong(fmt.Errorf("additional_bindings: %w", err))
		}
		list = append(list, b)
	}
	return list, nil
}

// pattern returns the verb and the template of a rule. The template's own syntax is checked where routes are compiled.
func pattern(r *annotations.HttpRule) (Binding, error) {
	var b Binding
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
		return b, errors.New("there is no verb: one of get, put, post, delete, patch and custom is needed")
	}
	if !httpToken.MatchString(b.HTTPMethod) {
		return b, fmt.Errorf("custom: the kind %q is neither an HTTP method nor *", b.HTTPMethod)
	}
	if !strings.HasPrefix(b.Template, "/") {
		return b, fmt.Errorf("the path template %q does not begin with /", b.Template)
	}
	return b, nil
}

// httpToken is the syntax of an HTTP method (RFC 9110, section 9.1), which "*" for any fits too.
var httpToken = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

func binding(md protoreflect.MethodDescriptor, r *annotations.HttpRule) (Binding, error) {
	b, err := pattern(r)
	if err != nil {
		return b, err
	}
	b.Body, b.ResponseBody = r.Body, r.ResponseBody
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
	list := slices.Clone(s.warnings)
	for name, r := range s.bySelector {
		service := set.byName[name.Parent()]
		if service == nil || service.Descriptor.Methods().ByName(name.Name()) == nil {
			list = append(list, fmt.Sprintf("%s: http rule: no descriptor set has the method %s", r.pos, name))
		}
	}
	slices.Sort(list) // a map has no order, and two loads of the same are to say the same
	return list
}
