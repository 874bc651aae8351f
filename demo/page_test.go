package demo

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	for _, found := range regexp.MustCompile(`(?m)^import .*|\bimport\(.*`).FindAllString(pageScript, -1) {
		if found != `import { connect } from "./crossgate.js";` {
			t.Errorf("the script has %s", found)
		}
	}
	for _, pattern := range []string{`(?i)\bsrc\s*=`, `(?i)https?://`, `(?i)@import`, `@(policy|style|script)@`} {
		if found := regexp.MustCompile(pattern).Find(Page()); found != nil {
			t.Errorf("the page has %q", found)
		}
	}
}

func TestThePagesPolicyFitsItsContent(t *testing.T) {
	// A script or style whose hash is not in the policy is not run; an attribute with code cannot have one.
	for name, pattern := range map[string]string{"script-src 'self'": `(?s)<script type="module">(.*?)</script>`, "style-src": `(?s)<style>(.*?)</style>`} {
		elements := regexp.MustCompile(pattern).FindAllSubmatch(Page(), -1)
		if len(elements) != 1 {
			t.Fatalf("the page has %d elements for %s, want 1", len(elements), name)
		}
		if want := name + " " + hashSource(string(elements[0][1])) + ";"; !bytes.Contains(Page(), []byte(want)) {
			t.Errorf("the policy has no %s", want)
		}
	}
	if found := regexp.MustCompile(`\son[a-z]+="|\sstyle="`).FindString(pageHTML); found != "" {
		t.Errorf("the page has an inline attribute %s", found)
	}
	if strings.Contains(pageScript, "innerHTML") {
		t.Error("the script writes HTML")
	}
}

func TestThePageHasWhatDrivesIt(t *testing.T) {
	for _, id := range []string{"state", "messages", "text", "send"} {
		if !strings.Contains(pageHTML, `id="`+id+`"`) {
			t.Errorf("the page has no element with the id %s", id)
		}
	}
}
