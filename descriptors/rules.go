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

// ruleSet is the HTTP rules of the configuration, in order. A rule stands in place of the annotations of the methods it
// selects, and of two rules for one method the later one counts (google.api.Http.rules).
type ruleSet struct {
	rules    []placedRule
	exact    map[string]int // the last rule that selects a method by its name alone
	patterns []int          // the rules with other selectors
	warnings []string
}

type placedRule struct {
	*annotations.HttpRule
	pos config.Position
}

// loadRules reads the rules of the configuration and of the service configuration files it names.
func loadRules(cfg *config.HTTP) (*ruleSet, error) {
	s := &ruleSet{exact: map[string]int{}}
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

func (s *ruleSet) empty() bool { return len(s.rules) == 0 && len(s.warnings) == 0 }

func (s *ruleSet) add(errs *config.Errors, r placedRule) {
	if err := config.CheckSelector(r.Selector); err != nil {
		errs.Add(r.pos, fmt.Errorf("http rule: %w", err))
		return
	}
	// What is wrong with a rule whatever its method is said at once, although the method may come later.
	for _, one := range append([]*annotations.HttpRule{r.HttpRule}, r.AdditionalBindings...) {
		if _, err := pattern(one); err != nil {
			errs.Add(r.pos, fmt.Errorf("http rule of %s: %w", r.Selector, err))
			return
		}
	}
	if strings.ContainsAny(r.Selector, "*,") {
		s.patterns = append(s.patterns, len(s.rules))
	} else {
		s.exact[r.Selector] = len(s.rules)
	}
	s.rules = append(s.rules, r)
}

// find returns the place of the last rule for a method, -1 when there is none.
func (s *ruleSet) find(method protoreflect.FullName) int {
	last, ok := s.exact[string(method)]
	if !ok {
		last = -1
	}
	for _, i := range slices.Backward(s.patterns) {
		if i < last {
			break
		}
		if Selects(s.rules[i].Selector, string(method)) {
			return i
		}
	}
	return last
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
	var rule placedRule
	wrong := func(err error) error { return config.Errorf(rule.pos, "http rule of %s: %w", md.FullName(), err) }
	if i := s.find(md.FullName()); i >= 0 {
		rule = s.rules[i]
	} else {
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

// unused names the rules that no method of the set has: none is selected, which may come with a later set, or each has a
// later rule.
func (s *ruleSet) unused(set *Set) []string {
	list := slices.Clone(s.warnings)
	used := make([]bool, len(s.rules))
	for _, service := range set.services {
		for _, m := range service.Methods {
			if i := s.find(m.Descriptor.FullName()); i >= 0 {
				used[i] = true
			}
		}
	}
	for i, r := range s.rules {
		if used[i] {
			continue
		}
		if later := s.laterRule(set, i); later >= 0 {
			list = append(list, fmt.Sprintf("%s: http rule: the later rule at %s takes the place of this one for %s", r.pos, s.rules[later].pos, r.Selector))
		} else {
			list = append(list, fmt.Sprintf("%s: http rule: no descriptor set has the method %s", r.pos, r.Selector))
		}
	}
	slices.Sort(list) // so that two loads of the same say the same
	return list
}

// laterRule returns the rule that a method of the set has in place of the rule at i, -1 when that selects no method.
func (s *ruleSet) laterRule(set *Set, i int) int {
	for _, service := range set.services {
		for _, m := range service.Methods {
			if name := m.Descriptor.FullName(); Selects(s.rules[i].Selector, string(name)) {
				return s.find(name)
			}
		}
	}
	return -1
}
