package main

import (
	"bytes"
	"os"
	"testing"
)

func TestReferenceIsFresh(t *testing.T) {
	t.Parallel()
	outputs, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range outputs {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale; run: go generate ./config", name)
		}
	}
}

func TestManualHasARowForEveryKey(t *testing.T) {
	t.Parallel()
	sections, err := model("../..")
	if err != nil {
		t.Fatal(err)
	}
	page := manual(sections, "")
	headings := make(map[string]bool)
	for _, s := range sections {
		if s.doc == "" {
			t.Errorf("%s has no comment", s.name)
		}
		if headings[s.anchor()] {
			t.Errorf("two sections are found at #%s", s.anchor())
		}
		headings[s.anchor()] = true
		for _, k := range s.keys {
			row := "| `" + k.name + "` | "
			if !bytes.Contains(page, []byte(row)) {
				t.Errorf("%s: the manual has no row for %s", s.heading(), k.name)
			}
		}
	}
	if len(sections) < 20 {
		t.Errorf("%d sections", len(sections))
	}
}
