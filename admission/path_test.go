package admission

import "testing"

func TestRulesSeeOneSpellingOfAPath(t *testing.T) {
	for path, want := range map[string]string{
		"/admin/x":            "/admin/x",
		"/%61dmin":            "/admin",
		"/%41%5A%7a%30%39":    "/AZz09",
		"/a%2Db%2e%5f%7E":     "/a-b._~",
		"/a%2fb%3bc%c3%a9":    "/a%2Fb%3Bc%C3%A9",
		"/%2561dmin":          "/%2561dmin", // decoded once, by whoever decodes it
		"/%":                  "/%",
		"/%6":                 "/%6",
		"/%zz%6z":             "/%zz%6z",
		"/%5B%7B%40%60%2F%3A": "/%5B%7B%40%60%2F%3A",
	} {
		if got := normal(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
