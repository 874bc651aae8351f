package config

import (
	"errors"
	"fmt"
	"slices"
)

func (v *validator) compression(c *Compression) {
	known := []string{"zstd", "br", "gzip", "none"}
	v.words(c.Encodings, c.Pos, "encodings", func(s string) error {
		switch {
		case !slices.Contains(known, s):
			return fmt.Errorf("%s is no encoding; expected %s%s", quote(s), orList(known), didYouMean(s, known))
		case s == "none" && len(c.Encodings) > 1:
			return errors.New("none stands alone")
		}
		return nil
	})
}
