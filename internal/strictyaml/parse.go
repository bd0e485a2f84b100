package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	maxBytes = 4 << 20
	maxDepth = 100
	maxKeys  = 10_000
)

// parse returns the root of the only document in data, or the complaint, without
// its file, because of which nothing can be decoded.
func parse(data []byte) (*yaml.Node, *Complaint) {
	if len(data) > maxBytes {
		return nil, &Complaint{Problem: fmt.Sprintf("is larger than %d MiB", maxBytes>>20), Instead: "split it into several files"}
	}
	if line := invalidLine(data); line > 0 {
		return nil, &Complaint{Line: line, Problem: "is not UTF-8 text", Instead: "save the file as UTF-8"}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))

	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthFunc(checkDepth))))
	if err != nil {
		return nil, &Complaint{Problem: err.Error()}
	}
	var first, second yaml.Node
	err = loader.Load(&first)
	if err == nil && first.Content[0].ShortTag() == "!!null" || errors.Is(err, io.EOF) {
		return nil, &Complaint{Problem: "is empty", Instead: "write at least one key"}
	}
	if err == nil {
		err = loader.Load(&second)
	}
	switch {
	case err == nil:
		at := second.Content[0]
		return nil, &Complaint{Line: at.Line, Column: at.Column, Problem: "has a second document", Instead: "keep one document per file"}
	case errors.Is(err, io.EOF):
		return first.Content[0], nil
	}
	return nil, explain(err)
}

// checkDepth bounds the nesting, for the sake of everything that is recursive.
func checkDepth(depth int, _ *yaml.DepthContext) error {
	if depth > maxDepth {
		return fmt.Errorf("is nested more than %d levels deep", maxDepth)
	}
	return nil
}

// explain says what an error of the YAML library means. It never shows text of
// the file, which may be a secret.
func explain(err error) *Complaint {
	c := &Complaint{Problem: "is not valid YAML", Instead: "check the indentation (spaces only), the colons and the quotes there"}
	found, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return c
	}
	c.Line, c.Column = found.Mark.Line, found.Mark.Column
	switch {
	case found.Stage == yaml.ComposerStage:
		c.Problem, c.Instead = "has an alias (*name) without an anchor", noAlias
	case found.ContextMsg == "while scanning an alias":
		c.Problem, c.Instead = "is not valid YAML: a text begins with *", "put the text in quotes"
	default:
		c.Problem += ": " + found.Message
	}
	return c
}

// invalidLine returns the first line that is not UTF-8 text; 0 when all are.
func invalidLine(data []byte) int {
	number := 0
	for line := range bytes.Lines(data) {
		if number++; !utf8.Valid(line) {
			return number
		}
	}
	return 0
}
