package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxBytes  = 4 << 20
	maxDepth  = 100
	maxKeys   = 10_000
	maxValues = 1_000_000
)

// parse returns the body of the only document in data and what each alias
// stands for. The body is nil when there is nothing to decode; then there is at
// least one complaint.
func parse(file string, data []byte) (ast.Node, map[*ast.AliasNode]ast.Node, Complaints) {
	complain := func(line, column int, problem, instead string) Complaints {
		return Complaints{{File: file, Line: line, Column: column, Problem: problem, Instead: instead}}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(data) > maxBytes {
		return nil, nil, complain(0, 0, fmt.Sprintf("is larger than %d MiB", maxBytes>>20), "split it into several files")
	}
	if line, ok := validUTF8(data); !ok {
		return nil, nil, complain(line, 0, "is not UTF-8 text", "save the file as UTF-8")
	}

	body, err := parseBody(string(data))
	var broken *brokenError
	if errors.As(err, &broken) {
		return nil, nil, complain(broken.line, broken.column, broken.problem, broken.instead)
	}

	found := aliasFinder{file: file, anchors: map[string]ast.Node{}, targets: map[*ast.AliasNode]ast.Node{}}
	found.walk(body, 0)
	return body, found.targets, found.complaints
}

// brokenError is a file of which nothing can be decoded.
type brokenError struct {
	line, column     int
	problem, instead string
}

func (e *brokenError) Error() string { return e.problem }

func broken(tk *token.Token, problem, instead string) *brokenError {
	e := &brokenError{problem: problem, instead: instead}
	if tk != nil && tk.Position != nil {
		e.line, e.column = tk.Position.Line, tk.Position.Column
	}
	return e
}

// parseBody returns the body of the only document of text, or a *brokenError.
// The parser is not ours: should it panic on some text, that text is refused
// like any other that it cannot read.
func parseBody(text string) (body ast.Node, err error) {
	const mend = "look at the indentation (spaces only), the colons and the quotes there"
	defer func() {
		if recover() != nil {
			body, err = nil, broken(nil, "is not valid YAML", mend)
		}
	}()

	tokens := lexer.Tokenize(text)
	if err := checkShape(tokens); err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			// What follows a colon in the message is the text itself, and that may
			// be a secret.
			message, _, _ := strings.Cut(syntax.GetMessage(), ":")
			return nil, broken(syntax.GetToken(), "is not valid YAML: "+message, mend)
		}
		return nil, broken(nil, "is not valid YAML", mend)
	}
	for _, document := range parsed.Docs {
		if document.Body == nil {
			continue
		}
		if body != nil {
			return nil, broken(document.Body.GetToken(), "has a second document", "keep one document a file")
		}
		if _, directive := document.Body.(*ast.DirectiveNode); directive {
			return nil, broken(document.Body.GetToken(), "has a YAML directive", "remove the line that begins with %")
		}
		body = document.Body
	}
	if body == nil {
		return nil, broken(nil, "is empty", "write at least one key")
	}
	return body, nil
}

// checkShape refuses what the parser would take too long for, or too much stack:
// it calls itself once a level without a limit of its own, and takes time by the
// square of a mapping's keys. The depth must err on the side of counting too
// much: a level is an open bracket, a column of keys or dashes further right
// than the one before, or a tag, anchor or colon that follows another without
// anything closed in between.
func checkShape(tokens token.Tokens) error {
	type level struct{ column, keys int }
	var levels []level
	brackets, run := 0, 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
			run = 0
		case token.MappingEndType, token.SequenceEndType:
			brackets = max(0, brackets-1)
			run = 0
		case token.CollectEntryType:
			run = 0
		case token.TagType, token.AnchorType:
			run++
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			if brackets > 0 {
				run++
				break
			}
			run = 0
			here := level{column: tk.Position.Column}
			if tk.Type == token.MappingValueType {
				here.keys = 1
				if tk.Prev != nil {
					here.column = tk.Prev.Position.Column
				}
			}
			for len(levels) > 0 && levels[len(levels)-1].column >= here.column {
				if last := levels[len(levels)-1]; last.column == here.column {
					here.keys += last.keys
				}
				levels = levels[:len(levels)-1]
			}
			levels = append(levels, here)
			if here.keys > maxKeys {
				return broken(tk, fmt.Sprintf("has more than %d keys in one mapping", maxKeys), "split the mapping")
			}
		}
		if brackets+run+len(levels) > maxDepth {
			return broken(tk, fmt.Sprintf("is nested more than %d levels deep", maxDepth), "write it flatter")
		}
	}
	return nil
}

// validUTF8 returns the line of the first byte that is not UTF-8 text.
func validUTF8(data []byte) (line int, ok bool) {
	if utf8.Valid(data) {
		return 0, true
	}
	line = 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		data = data[size:]
	}
	return line, false
}

// aliasFinder finds what each alias stands for: the last anchor of that name
// above it.
type aliasFinder struct {
	file       string
	anchors    map[string]ast.Node
	targets    map[*ast.AliasNode]ast.Node
	complaints Complaints
}

func (f *aliasFinder) walk(node ast.Node, depth int) {
	if depth > 4*maxDepth {
		return
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, entry := range n.Values {
			f.walk(entry, depth+1)
		}
	case *ast.MappingValueNode:
		f.walk(n.Key, depth+1)
		f.walk(n.Value, depth+1)
	case *ast.MappingKeyNode:
		f.walk(n.Value, depth+1)
	case *ast.SequenceNode:
		for _, item := range n.Values {
			f.walk(item, depth+1)
		}
	case *ast.TagNode:
		f.walk(n.Value, depth+1)
	case *ast.AnchorNode:
		f.anchors[nodeText(n.Name)] = n.Value
		f.walk(n.Value, depth+1)
	case *ast.AliasNode:
		name := nodeText(n.Value)
		target, ok := f.anchors[name]
		if ok {
			f.targets[n] = target
			return
		}
		position := n.GetToken().Position
		f.complaints = append(f.complaints, Complaint{
			File: f.file, Line: position.Line, Column: position.Column,
			Problem: fmt.Sprintf("alias *%s has no anchor above it", name),
			Instead: fmt.Sprintf("write &%s before the value that is meant, or put the text in quotes", name),
		})
	}
}

// nodeText returns the text of a scalar as it is written; empty for the rest.
func nodeText(node ast.Node) string {
	switch n := node.(type) {
	case nil:
		return ""
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		if n.Value == nil {
			return ""
		}
		return n.Value.Value
	case ast.ScalarNode:
		if tk := n.GetToken(); tk != nil {
			return strings.TrimSpace(tk.Value)
		}
	}
	return ""
}
