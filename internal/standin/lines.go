package standin

import "strings"

// lineCounts are the lines of a set of files.
type lineCounts struct{ total, code, comment, blank int }

func (c *lineCounts) add(d lineCounts) {
	c.total += d.total
	c.code += d.code
	c.comment += d.comment
	c.blank += d.blank
}

// commentStyle is how a language marks comments.
type commentStyle struct {
	line        []string
	open, close string
}

// styleOf returns how language (enry's name) marks comments; for one that is not
// known every line that is not blank counts as code.
func styleOf(language string) commentStyle {
	switch language {
	case "Go", "C", "C++", "C#", "Java", "JavaScript", "TypeScript", "TSX", "Rust", "Kotlin", "Scala", "Swift", "Groovy", "Dart", "Objective-C":
		return commentStyle{line: []string{"//"}, open: "/*", close: "*/"}
	case "PHP":
		return commentStyle{line: []string{"//", "#"}, open: "/*", close: "*/"}
	case "Shell", "Python", "Ruby", "Perl", "YAML", "TOML", "Makefile", "Dockerfile", "CMake", "R", "HCL":
		return commentStyle{line: []string{"#"}}
	case "SQL", "PLSQL", "PLpgSQL":
		return commentStyle{line: []string{"--"}, open: "/*", close: "*/"}
	case "Lua":
		return commentStyle{line: []string{"--"}, open: "--[[", close: "]]"}
	case "HTML", "XML", "Vue", "Markdown":
		return commentStyle{open: "<!--", close: "-->"}
	case "CSS", "SCSS", "Less":
		return commentStyle{open: "/*", close: "*/"}
	case "INI":
		return commentStyle{line: []string{";", "#"}}
	}
	return commentStyle{}
}

// countLines tells code, comment and blank lines apart. A line is a comment when
// it begins with one or lies within one. Marks inside of string literals are
// not recognised as such.
func countLines(language string, text []byte) lineCounts {
	style := styleOf(language)
	var c lineCounts
	inside := false
	for line := range strings.Lines(string(text)) {
		c.total++
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			c.blank++
		case inside:
			c.comment++
			inside = !strings.Contains(line, style.close)
		case style.open != "" && strings.HasPrefix(line, style.open):
			c.comment++
			inside = !strings.Contains(line[len(style.open):], style.close)
		case hasAnyPrefix(line, style.line):
			c.comment++
		default:
			c.code++
		}
	}
	return c
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
