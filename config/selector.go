package config

import (
	"errors"
	"fmt"
	"strings"
)

// CheckSelector accepts selectors of methods as service configurations have them (google/api/documentation.proto,
// DocumentationRule.selector): names separated by commas, of which each may end in a component *, for all below it.
func CheckSelector(s string) error {
	if s == "" {
		return errors.New("selector is missing")
	}
	for one := range strings.SplitSeq(s, ",") {
		one = strings.TrimSpace(one)
		prefix, wildcard := strings.CutSuffix(one, ".*")
		if one != "*" && !(isFullName(prefix) && (wildcard || strings.Contains(one, "."))) {
			return fmt.Errorf("selector: %s is not a method; expected package.Service.Method, package.Service.*, package.* or *", quote(one))
		}
	}
	return nil
}
