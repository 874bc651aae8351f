package openapi

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// comment returns what the .proto file says of d, above it or else behind it, where the descriptors have source info.
func comment(d protoreflect.Descriptor) string {
	file := d.ParentFile()
	if file == nil {
		return ""
	}
	at := file.SourceLocations().ByDescriptor(d)
	text := clean(at.LeadingComments)
	if text == "" {
		text = clean(at.TrailingComments)
	}
	return text
}

// clean takes the comment's own indent off each line, and leaves out what is not for readers of the API: comments between
// (-- and --) (AIP-192), and what linters are told.
func clean(text string) string {
	for {
		from := strings.Index(text, "(--")
		if from < 0 {
			break
		}
		n := strings.Index(text[from:], "--)")
		if n < 0 {
			text = text[:from]
			break
		}
		text = text[:from] + text[from+n+len("--)"):]
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(strings.TrimPrefix(line, " "), " \t\r")
		if word := strings.TrimLeft(line, " "); strings.HasPrefix(word, "buf:lint:") || strings.HasPrefix(word, "@exclude") || strings.HasPrefix(word, "api-linter:") {
			continue
		}
		lines = append(lines, line)
	}
	text = strings.Trim(strings.Join(lines, "\n"), "\n")
	if !utf8.ValidString(text) {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return text
}

// maxSummary is the longest summary: a line in a list.
const maxSummary = 120

// summarize splits a comment into its first sentence, without the full stop, and the rest. A first sentence too long for
// a list stays in the description.
func summarize(text string) (summary, description string) {
	end := len(text)
	if i := strings.Index(text, "\n\n"); i >= 0 {
		end = i
	}
	for i := range end {
		if text[i] == '.' && (i+1 == end || text[i+1] == ' ' || text[i+1] == '\n') && !abbreviated(text[:i]) {
			end = i + 1
			break
		}
	}
	first := strings.TrimSuffix(strings.Join(strings.Fields(text[:end]), " "), ".")
	if first == "" || utf8.RuneCountInString(first) > maxSummary {
		return "", text
	}
	return first, strings.TrimSpace(text[end:])
}

// abbreviated reports whether the full stop after text is one of "e.g." or "i.e.".
func abbreviated(text string) bool {
	word := text[strings.LastIndexAny(text, " \n(")+1:]
	return word == "e.g" || word == "i.e" || word == "etc" || word == "vs"
}

// paragraphs joins what is not empty.
func paragraphs(list ...string) string {
	var kept []string
	for _, s := range list {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, "\n\n")
}
