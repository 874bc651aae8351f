package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a configuration file. Line and Column count from 1; the zero Position is no place.
type Position struct {
	File   string
	Line   int
	Column int
}

// String returns file:line:column, or less where less is known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one thing wrong with a configuration, and where.
type Error struct {
	Pos Position
	Err error
}

// Errorf returns an *Error at pos. The format's %w is unwrapped by errors.Is and errors.As.
func Errorf(pos Position, format string, args ...any) *Error {
	return &Error{Pos: pos, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string {
	if e.Pos == (Position{}) {
		return e.Err.Error()
	}
	return e.Pos.String() + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errors is every error of a configuration, in the order of the files, one line each.
type Errors []*Error

func (l Errors) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

func (l Errors) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

// Add appends err to l; nil is nothing. Errors and joined errors are flattened; an error without a position gets pos.
func (l *Errors) Add(pos Position, err error) {
	var many interface{ Unwrap() []error }
	var one *Error
	switch e := err.(type) { //nolint:errorlint // what wraps an Error is looked into below
	case nil:
		return
	case *Error:
		if e.Pos == (Position{}) {
			e = &Error{Pos: pos, Err: e.Err}
		}
		*l = append(*l, e)
		return
	}
	switch {
	case errors.As(err, &many):
		for _, e := range many.Unwrap() {
			l.Add(pos, e)
		}
	case errors.As(err, &one):
		l.Add(pos, one)
	default:
		*l = append(*l, &Error{Pos: pos, Err: err})
	}
}

// Err returns nil when l is empty and l itself otherwise.
func (l Errors) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// sorted returns l in the order of files and of places in them, each error once: what an alias stands for is read
// wherever it is used, and would say the same each time.
func (l Errors) sorted(files []string) Errors {
	order := make(map[string]int, len(files))
	for i, name := range files {
		order[name] = i
	}
	seen := make(map[string]bool, len(l))
	l = slices.DeleteFunc(l, func(e *Error) bool {
		text := e.Error()
		defer func() { seen[text] = true }()
		return seen[text]
	})
	slices.SortStableFunc(l, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(order[a.Pos.File], order[b.Pos.File]),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
		)
	})
	return l
}
