package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Same reports whether two values of one type from this package say the same, wherever they stand: positions are not
// compared, and a list without elements is one left out. A reload keeps what its section says the same of.
func Same(a, b any) bool {
	v, w := reflect.ValueOf(a), reflect.ValueOf(b)
	if !v.IsValid() || !w.IsValid() {
		return v.IsValid() == w.IsValid()
	}
	return v.Type() == w.Type() && same(v, w)
}

func same(v, w reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || w.IsNil() {
			return v.IsNil() == w.IsNil()
		}
		return same(v.Elem(), w.Elem())
	case reflect.Slice:
		if v.Len() != w.Len() {
			return false
		}
		for i := range v.Len() {
			if !same(v.Index(i), w.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if v.Len() != w.Len() {
			return false
		}
		for i := v.MapRange(); i.Next(); {
			other := w.MapIndex(i.Key())
			if !other.IsValid() || !same(i.Value(), other) {
				return false
			}
		}
		return true
	case reflect.Struct:
		return sameFields(v, w)
	}
	return v.Equal(w)
}

// sameFields compares the fields that are keys; a struct without any, as Rate, is a value of its own.
func sameFields(v, w reflect.Value) bool {
	keys := 0
	for i := range v.NumField() {
		switch v.Type().Field(i).Tag.Get("yaml") {
		case "":
			continue
		case "-":
		default:
			if !same(v.Field(i), w.Field(i)) {
				return false
			}
		}
		keys++
	}
	return keys > 0 || v.Equal(w)
}

// Fingerprint returns a short digest of what a value from this package says, wherever it stands: nodes that are configured the
// same make the same of it. It panics on what is no part of a configuration.
func Fingerprint(section any) string {
	text, err := yaml.Marshal(section)
	if err != nil {
		panic(fmt.Sprintf("config: fingerprint of a %T: %v", section, err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
