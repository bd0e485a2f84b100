package standin

import (
	"bytes"
	"errors"
	"io"

	"go.yaml.in/yaml/v4"
)

// scanYAML finds the first syntax error of a file with any number of documents:
// major.
func scanYAML(text []byte) []defect {
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	for err == nil {
		var document yaml.Node
		err = loader.Load(&document)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	line, message := 1, err.Error()
	var at *yaml.LoadError
	if errors.As(err, &at) {
		line, message = max(1, at.Mark.Line), at.Message
	}
	return []defect{syntaxError("yaml", line, message)}
}
