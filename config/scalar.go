package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// scalar decodes one string, number or truth value and holds it against its rules.
func (d *decoder) scalar(key string, n *yaml.Node, v reflect.Value, r rules) {
	if !d.is(yaml.ScalarNode, key, n) {
		return
	}
	text, err := expand(n.Value, d.env)
	if err != nil {
		d.errorf(n, "%s: %w", key, err)
		return
	}
	if text == "" && !r.empty {
		if n.Value != "" {
			d.errorf(n, "%s: the value is empty once environment variables are filled in", key)
		} else {
			d.errorf(n, "%s: the value is empty; give one or leave the key out", key)
		}
		return
	}
	if quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0; quoted && text == n.Value {
		if kind := v.Kind(); kind == reflect.Bool || kind == reflect.Int {
			d.errorf(n, "%s: expected %s, found a string; write it without quotes", key, expected(v))
			return
		}
	}
	if err := setScalar(v, text, d.doc.folder); err != nil {
		d.errorf(n, "%s: %w", key, err)
		return
	}
	if err := r.check(v, text); err != nil {
		d.errorf(n, "%s: %w", key, err)
	}
}

var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// setScalar sets v to the value that text is. Relative paths are relative to folder.
func setScalar(v reflect.Value, text, folder string) error {
	switch target := v.Addr().Interface().(type) {
	case *Duration:
		return set(target, text, parseDuration)
	case *Size:
		return set(target, text, parseSize)
	case *Rate:
		return set(target, text, parseRate)
	case *Percent:
		return set(target, text, parsePercent)
	case *Prefix:
		return set(target, text, parsePrefix)
	case *Path:
		*target = parsePath(text, folder)
	case *Secret:
		*target = Secret(text)
	case *string:
		*target = text
	case *bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("expected true or false, found %s", quote(text))
		}
		*target = text == "true"
	case *int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || !wholeNumber.MatchString(text) {
			return fmt.Errorf("expected a whole number, found %s", quote(text))
		}
		*target = int(n)
	default:
		panic(fmt.Sprintf("config: no way to decode a %T", target))
	}
	return nil
}

func set[T any](target *T, text string, parse func(string) (T, error)) error {
	value, err := parse(text)
	if err == nil {
		*target = value
	}
	return err
}

func expected(v reflect.Value) string {
	if v.Kind() == reflect.Bool {
		return "true or false"
	}
	return "a whole number"
}

// check holds the value v, written as text, against r.
func (r rules) check(v reflect.Value, text string) error {
	if r.enum != nil && !slices.Contains(r.enum, text) {
		return fmt.Errorf("%s is not one of %s%s", quote(text), orList(r.enum), didYouMean(text, r.enum))
	}
	if r.min != "" && v.Int() < bound(v, r.min) {
		return fmt.Errorf("%s is too small; the least is %s", text, r.min)
	}
	if r.max != "" && v.Int() > bound(v, r.max) {
		return fmt.Errorf("%s is too large; the most is %s", text, r.max)
	}
	return nil
}

// bound returns the number that a min or max tag stands for on a field of v's type.
func bound(v reflect.Value, text string) int64 {
	limit := reflect.New(v.Type()).Elem()
	if err := setScalar(limit, text, ""); err != nil {
		panic(fmt.Sprintf("config: bound %s: %v", text, err))
	}
	return limit.Int()
}
