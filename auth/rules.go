package auth

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"

	"github.com/crossgate/crossgate/config"
)

const (
	// ruleCost bounds what one expression may do for one request, in CEL's units: about one for a comparison, and one for ten
	// bytes looked at.
	ruleCost = 100_000
	// maxExpression bounds the text of one.
	maxExpression = 16 << 10
)

// Rules decide about requests by expressions. They are immutable and safe for concurrent use.
type Rules struct {
	list      []rule
	otherwise bool // requests that no rule decides about pass
	dryRun    bool
}

type rule struct {
	name    string
	program cel.Program
	deny    bool
	dryRun  bool
}

// Verdict is what rules made of a request.
type Verdict struct {
	Allowed bool
	// Rule is the name of the rule that decided: "otherwise" where none did.
	Rule string
	// WouldDeny is the first rule that only reports and would have denied the request; empty for none.
	WouldDeny string
}

// environment is what expressions may name. It is made once: that takes milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	text := cel.MapType(cel.StringType, cel.StringType)
	words := cel.ListType(cel.StringType)
	options := []cel.EnvOption{cel.DefaultUTCTimeZone(true), cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(100)}
	for name, t := range map[string]*cel.Type{
		"request.method": cel.StringType, "request.path": cel.StringType, "request.host": cel.StringType, "request.protocol": cel.StringType,
		"request.ip": cel.StringType, "request.headers": text, "request.query": text, "request.time": cel.TimestampType,
		"request.upgrade": cel.BoolType,
		"identity.user":   cel.StringType, "identity.provider": cel.StringType, "identity.key_id": cel.StringType, "identity.roles": words,
		"identity.scopes": words, "identity.claims": cel.MapType(cel.StringType, cel.DynType), "identity.authenticated": cel.BoolType,
		"route.name": cel.StringType, "route.binding": cel.StringType, "route.method": cel.StringType,
		"vars": text,
	} {
		options = append(options, cel.Variable(name, t))
	}
	return cel.NewEnv(options...)
})

// messageEnvironment is what expressions about messages may name besides.
var messageEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	return env.Extend(
		cel.Variable("message.type", cel.StringType), cel.Variable("message.route", cel.StringType), cel.Variable("message.channel", cel.StringType),
		cel.Variable("message.size", cel.IntType), cel.Variable("message.data", cel.DynType),
	)
})

// CompileRules compiles a route's rules about requests; nil stays nil. Errors are config.Errors that say where in which
// expression.
func CompileRules(route string, cfg *config.Authorize) (*Rules, error) {
	return compileRules(environment, route+": authorize", cfg)
}

// CompileMessageRules compiles a route's rules about the messages of its sessions; nil stays nil.
func CompileMessageRules(route string, cfg *config.Authorize) (*Rules, error) {
	return compileRules(messageEnvironment, route+": authorize_messages", cfg)
}

func compileRules(names func() (*cel.Env, error), where string, cfg *config.Authorize) (*Rules, error) {
	if cfg == nil {
		return nil, nil
	}
	env, err := names()
	if err != nil {
		return nil, err
	}
	r := &Rules{otherwise: cfg.Otherwise == "allow", dryRun: cfg.DryRun}
	var errs config.Errors
	for i := range cfg.Rules {
		one := &cfg.Rules[i]
		key, text := "allow", one.Allow
		if one.Deny != "" {
			key, text = "deny", one.Deny
		}
		program, err := compileExpression(env, text)
		if err != nil {
			errs.Add(one.Pos, fmt.Errorf("route %s: rule %s: %s:%w", where, one.Name, key, err))
			continue
		}
		r.list = append(r.list, rule{name: one.Name, program: program, deny: one.Deny != "", dryRun: one.DryRun})
	}
	return r, errs.Err()
}

// compileExpression compiles one expression. Its errors begin with a space, or with line and column within the expression.
func compileExpression(env *cel.Env, text string) (cel.Program, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf(" the expression is longer than %d bytes", maxExpression)
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		message, _, _ := strings.Cut(first.Message, "\n")
		return nil, fmt.Errorf("%d:%d: %s", first.Location.Line(), first.Location.Column()+1, message)
	}
	if t := ast.OutputType(); t != cel.BoolType && t != cel.DynType {
		return nil, fmt.Errorf(" the expression is a %s; expected true or false", t)
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	if cost.Min > ruleCost {
		return nil, fmt.Errorf(" the expression does too much for one request: at least %d units, and %d is the most", cost.Min, ruleCost)
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if cost.Max > ruleCost {
		// Only then is it counted while it runs: counting costs more than most expressions do.
		options = append(options, cel.CostLimit(ruleCost))
	}
	program, err := env.Program(ast, options...)
	if err != nil {
		return nil, fmt.Errorf(" %w", err)
	}
	return program, nil
}

// sizes bound what a request may have of each.
type sizes struct{}

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(of checker.AstNode) *checker.SizeEstimate {
	path := of.Path()
	if len(path) == 0 {
		return nil
	}
	switch path[0] {
	case "identity.roles", "identity.scopes", "request.headers", "request.query", "vars":
		if len(path) == 1 {
			return &checker.SizeEstimate{Max: 1000}
		}
	}
	// A header, or a claim: what a token of the usual size can hold. Larger ones take longer, in proportion.
	return &checker.SizeEstimate{Max: 8 << 10}
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// Decide decides about a request.
func (r *Rules) Decide(q *Question) Verdict {
	in := inputs.Get().(*input)
	in.begin(q)
	defer in.end()
	v := Verdict{Rule: "otherwise", Allowed: r.otherwise}
	for i := range r.list {
		one := &r.list[i]
		out, _, err := one.program.Eval(in)
		holds := err == nil && out == types.True
		if one.deny {
			// What cannot be judged is not let pass.
			holds = holds || out != types.False
		}
		if !holds {
			continue
		}
		if one.dryRun {
			if v.WouldDeny == "" {
				v.WouldDeny = one.name
			}
			continue
		}
		v.Rule, v.Allowed = one.name, !one.deny
		break
	}
	if r.dryRun && !v.Allowed {
		v.Allowed = true
		if v.WouldDeny == "" {
			v.WouldDeny = v.Rule
		}
	}
	return v
}
