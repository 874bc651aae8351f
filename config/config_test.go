package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// badInput is a configuration and everything that is wrong with it, a line each.
type badInput struct {
	name, input, want string
}

func testBadInput(t *testing.T, tests []badInput) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("c.yaml", []byte(strings.TrimPrefix(tt.input, "\n")))
			got := "no error"
			if err != nil {
				got = err.Error()
			}
			if want := strings.TrimSpace(tt.want); got != want {
				t.Errorf("errors of\n%s\ngot:\n%s\nwant:\n%s", tt.input, got, want)
			}
		})
	}
}

func mustParse(t *testing.T, input string) *Config {
	t.Helper()
	c, err := Parse("c.yaml", []byte(strings.TrimPrefix(input, "\n")))
	if err != nil {
		t.Fatalf("parse\n%s\n%v", input, err)
	}
	return c
}

// writeFolder makes a folder with files of the given content.
func writeFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
