package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the files
	"encoding/hex"
	"html/template"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed dist/swagger-ui.css
var styleUI []byte

//go:embed dist/swagger-ui-bundle.js
var scriptUI []byte

// What the licence of the UI asks to be handed on with it, beside what is in its files.
//
//go:embed dist/LICENSE
var licence []byte

//go:embed dist/NOTICE
var notice []byte

//go:embed dist/swagger-ui-bundle.js.LICENSE.txt
var licences []byte

//go:embed page.css
var style []byte

//go:embed page.js
var script []byte

//go:embed page.html
var document string

// File is a file that the page loads.
type File struct {
	Name    string // the last segment of its path
	Type    string // its Content-Type
	Content []byte // not to be changed
	// Digest is of the content; a URL with it is for good.
	Digest string
}

// Files returns the files that a page loads, and the licences of those. The caller must not change the slice.
func Files() []File { return files() }

var files = sync.OnceValue(func() []File {
	list := []File{
		{Name: "swagger-ui.css", Type: "text/css; charset=utf-8", Content: styleUI},
		{Name: "swagger-ui-bundle.js", Type: "text/javascript; charset=utf-8", Content: scriptUI},
		{Name: "page.css", Type: "text/css; charset=utf-8", Content: style},
		{Name: "page.js", Type: "text/javascript; charset=utf-8", Content: script},
		{Name: "LICENSE", Type: "text/plain; charset=utf-8", Content: licence},
		{Name: "NOTICE", Type: "text/plain; charset=utf-8", Content: notice},
		{Name: "swagger-ui-bundle.js.LICENSE.txt", Type: "text/plain; charset=utf-8", Content: licences},
	}
	for i := range list {
		sum := sha256.Sum256(list[i].Content)
		list[i].Digest = hex.EncodeToString(sum[:8])
	}
	return list
})

var parsed = template.Must(template.New("page").Parse(document))

// HTML returns the page. self and openapi are the paths of the page and of the document; the page refers to both and to
// its files, which are below its own path, by relative URLs: a proxy in front may put a prefix before all of them.
func HTML(title, self, openapi string) ([]byte, error) {
	folder, own := self[:strings.LastIndexByte(self, '/')+1], self[strings.LastIndexByte(self, '/')+1:]
	data := struct {
		Title, Document string
		Styles, Scripts []string
	}{Title: title, Document: relative(folder, openapi)}
	for _, f := range Files() {
		u := "./" + own + "/" + f.Name + "?v=" + f.Digest
		switch path.Ext(f.Name) {
		case ".css":
			data.Styles = append(data.Styles, u)
		case ".js":
			data.Scripts = append(data.Scripts, u)
		}
	}
	var b bytes.Buffer
	err := parsed.Execute(&b, data)
	return b.Bytes(), err
}

// relative returns the reference that leads from a folder to a path.
func relative(folder, to string) string {
	up := ""
	for !strings.HasPrefix(to, folder) {
		folder = folder[:strings.LastIndexByte(strings.TrimSuffix(folder, "/"), '/')+1]
		up += "../"
	}
	if up == "" {
		up = "./"
	}
	return up + strings.TrimPrefix(to, folder)
}

// Policy returns the page's Content-Security-Policy: it may load its files and talk to where it came from, and to the
// servers that the document names. Images of answers are shown from memory.
func Policy(servers []string) string {
	connect := []string{"'self'"}
	for _, s := range servers {
		if u, err := url.Parse(s); err == nil && u.Host != "" && !slices.Contains(connect, u.Scheme+"://"+u.Host) {
			connect = append(connect, u.Scheme+"://"+u.Host)
		}
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src " + strings.Join(connect, " ") +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
