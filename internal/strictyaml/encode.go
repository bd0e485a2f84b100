package strictyaml

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Encode writes v as YAML that Decode reads back into the same value: the keys
// of the `yaml` tags, with `omitempty` respected, and durations as Go writes them
// (45m0s). A type with a method MarshalYAML() (any, error) is written as what that
// returns, one with MarshalText as that text.
func Encode(v any) ([]byte, error) {
	return yaml.Dump(v, yaml.WithCompactSeqIndent(false), yaml.WithLineWidth(-1), yaml.WithQuotePreference(yaml.QuoteDouble))
}

// JSON writes v as Encode does, but as JSON. An empty list is [].
func JSON(v any) (json.RawMessage, error) {
	var node yaml.Node
	if err := node.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	var loose, compact bytes.Buffer
	scalars := json.NewEncoder(&loose)
	scalars.SetEscapeHTML(false)
	if err := writeJSON(&loose, scalars, &node); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	err := json.Compact(&compact, loose.Bytes())
	return compact.Bytes(), err
}

// writeJSON writes node to out; scalars is an encoder to the same buffer.
func writeJSON(out *bytes.Buffer, scalars *json.Encoder, node *yaml.Node) error {
	brackets, separators := "[]", ",,"
	switch node.Kind {
	case yaml.ScalarNode:
		var value any
		if err := node.Decode(&value); err != nil {
			return err
		}
		return scalars.Encode(value)
	case yaml.MappingNode:
		brackets, separators = "{}", ",:" // the keys and values take turns
	}
	out.WriteByte(brackets[0])
	for i, child := range node.Content {
		if i > 0 {
			out.WriteByte(separators[i%2])
		}
		if err := writeJSON(out, scalars, child); err != nil {
			return err
		}
	}
	out.WriteByte(brackets[1])
	return nil
}
