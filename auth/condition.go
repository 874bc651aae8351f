package auth

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Condition is an expression about a request, in the language of [Rules]. It is immutable and safe for concurrent use.
type Condition struct{ program cel.Program }

// CompileCondition compiles an expression.
func CompileCondition(text string) (*Condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	program, err := compileExpression(env, text)
	if err != nil {
		return nil, fmt.Errorf("when:%w", err)
	}
	return &Condition{program}, nil
}

// Holds reports whether the expression is true of a request. One that fails, as for a claim that is not there, is not.
func (c *Condition) Holds(q *Question) bool {
	in := inputs.Get().(*input)
	in.begin(q)
	defer in.end()
	out, _, err := c.program.Eval(in)
	return err == nil && out == types.True
}
