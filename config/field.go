package config

import (
	"reflect"
	"strings"
)

// field is what a struct field's tags say about its key. The tags are:
//
//	yaml:"key"       the key; "-" for none
//	required:"true"  the key must be there, and a list must have an element
//	default:"v"      the value where the key is left out, written as in a file; for a list its one element
//	enum:"a,b"       the values allowed
//	min:"v" max:"v"  the range allowed, of whole numbers, sizes and durations
//	empty:"true"     the empty string is a value of its own; elsewhere it is refused, for it is what an environment
//	                 variable that went missing leaves behind
//	single:"true"    a list of one element may be written as that element
type field struct {
	index      int
	key        string
	required   bool
	hasDefault bool
	rules      rules
}

// rules are the tags that bear on a value.
type rules struct {
	initial  string
	enum     []string
	min, max string
	empty    bool
	single   bool
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key := tag.Get("yaml")
		if key == "-" {
			continue
		}
		f := field{index: i, key: key, required: tag.Get("required") != ""}
		f.rules = rules{min: tag.Get("min"), max: tag.Get("max"), empty: tag.Get("empty") != "", single: tag.Get("single") != ""}
		f.rules.initial, f.hasDefault = tag.Lookup("default")
		if enum := tag.Get("enum"); enum != "" {
			f.rules.enum = strings.Split(enum, ",")
		}
		fields = append(fields, f)
	}
	return fields
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}
