// Package page is the documentation page: an HTML document that shows an OpenAPI document and tries its calls, and the
// files it loads. The UI is the npm package that dist holds (`make docs-ui` puts it there), so that the page asks no other
// host for anything, and its Content-Security-Policy lets it ask none.
//
// Types to know: [HTML] makes the document, [File] is a file it loads.
package page
