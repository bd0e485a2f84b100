package strictyaml

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Encode writes v as YAML that Decode reads back into the same value: the keys
// of the `yaml` tags, with `omitempty` respected, and durations as 45m. A type
// with a method MarshalYAML() (any, error) is written as what that returns.
func Encode(v any) ([]byte, error) {
	data, err := yaml.MarshalWithOptions(v,
		yaml.IndentSequence(true),
		yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(shortDuration(d)), nil }),
	)
	if err != nil {
		return nil, fmt.Errorf("encode yaml: %w", err)
	}
	return data, nil
}

// shortDuration writes 45m0s as 45m and 2h0m0s as 2h.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
