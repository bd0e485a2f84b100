package strictyaml

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// SyntaxError says where a text stops being YAML. Line and Column count from 1.
type SyntaxError struct {
	Line, Column int
	Problem      string
}

// Error returns `line:column: problem`.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Problem)
}

// CheckSyntax reports whether data is YAML, of any content and number of
// documents: nil, or a *SyntaxError with the first place that is not. What is
// too large or too deep to be read within the bounds of Decode is not judged.
func CheckSyntax(data []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &SyntaxError{Line: 1, Column: 1, Problem: "the parser cannot read the file"}
		}
	}()
	if len(data) > maxBytes {
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if checkShape(tokens) != nil {
		return nil
	}
	_, parseErr := parser.Parse(tokens, 0)
	if parseErr == nil {
		return nil
	}
	found := &SyntaxError{Line: 1, Column: 1, Problem: parseErr.Error()}
	var at yaml.Error
	if errors.As(parseErr, &at) {
		found.Problem = at.GetMessage()
		if token := at.GetToken(); token != nil && token.Position != nil {
			found.Line, found.Column = token.Position.Line, token.Position.Column
		}
	}
	return found
}
