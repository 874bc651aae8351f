// Command reference writes config/schema.json and docs/configuration.md from the structs of package config and their
// comments. It is run by: go generate ./config
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	outputs, err := generate(".")
	if err == nil {
		for name, content := range outputs {
			if err = os.WriteFile(name, content, 0o644); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// generate returns the content of each file to write. folder is that of package config.
func generate(folder string) (map[string][]byte, error) {
	sections, err := model(folder)
	if err != nil {
		return nil, err
	}
	example, err := os.ReadFile(filepath.Join(folder, "testdata", "example.yaml"))
	if err != nil {
		return nil, err
	}
	schema, err := schema(sections)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		filepath.Join(folder, "schema.json"):                    schema,
		filepath.Join(folder, "..", "docs", "configuration.md"): manual(sections, string(example)),
	}, nil
}
