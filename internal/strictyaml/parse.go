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

// parse returns the root of the only document in data, or the complaint because
// of which nothing can be decoded.
func parse(file string, data []byte) (*yaml.Node, *Complaint) {
	complain := func(at yaml.Mark, problem, instead string) *Complaint {
		return &Complaint{File: file, Line: at.Line, Column: at.Column, Problem: problem, Instead: instead}
	}
	if len(data) > maxBytes {
		return nil, complain(yaml.Mark{}, fmt.Sprintf("is larger than %d MiB", maxBytes>>20), "split it into several files")
	}
	if line := invalidLine(data); line > 0 {
		return nil, complain(yaml.Mark{Line: line}, "is not UTF-8 text", "save the file as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))

	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthFunc(checkDepth))))
	if err != nil {
		return nil, complain(yaml.Mark{}, err.Error(), "")
	}
	var first, second yaml.Node
	err = loader.Load(&first)
	if err == nil && first.Content[0].ShortTag() == "!!null" || errors.Is(err, io.EOF) {
		return nil, complain(yaml.Mark{}, "is empty", "write at least one key")
	}
	if err == nil {
		err = loader.Load(&second)
	}
	switch {
	case err == nil:
		at := second.Content[0]
		return nil, complain(yaml.Mark{Line: at.Line, Column: at.Column}, "has a second document", "keep one document per file")
	case errors.Is(err, io.EOF):
		return first.Content[0], nil
	}
	problem, instead, mark := explain(err)
	return nil, complain(mark, problem, instead)
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
func explain(err error) (problem, instead string, at yaml.Mark) {
	const advice = "check the indentation (spaces only), the colons and the quotes there"
	var found *yaml.LoadError
	switch {
	case !errors.As(err, &found):
		return "is not valid YAML", advice, yaml.Mark{}
	case found.Stage == yaml.ComposerStage:
		return "has an alias (*name) without an anchor", noAlias, found.Mark
	case found.ContextMsg == "while scanning an alias":
		return "is not valid YAML: a text begins with *", "put the text in quotes", found.Mark
	}
	return "is not valid YAML: " + found.Message, advice, found.Mark
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
