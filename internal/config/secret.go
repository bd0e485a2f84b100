package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// hidden is what every way of printing a secret prints.
const hidden = "<secret>"

const secretForm = "write {env: NAME} with the name of an environment variable, or {file: PATH}"

// maxSecret bounds a secret in bytes. The longest kind, a temporary security token,
// has some thousands.
const maxSecret = 64 << 10

var envPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Secret is a text that is never printed. The server file holds only where it is
// found: {env: NAME} or {file: PATH}. However a Secret is printed, marshalled or
// logged, it shows as <secret>, or as nothing when it is not set.
type Secret struct {
	from secretSource
	// value is a pointer, because whatever prints a struct without asking its
	// methods prints an address then.
	value *string
	// path is where File is.
	path string
}

// secretSource says where a secret is found: one of the two is given.
type secretSource struct {
	Env  string `yaml:"env"`
	File string `yaml:"file"`
}

// Value returns the secret itself; empty when it is not set.
func (s Secret) Value() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Set reports whether the document gives this secret.
func (s Secret) Set() bool { return s.from != secretSource{} }

// IsZero is the opposite of Set: it lets encoders leave out what is not given.
func (s Secret) IsZero() bool { return !s.Set() }

// String returns <secret>, or nothing when s is not set.
func (s Secret) String() string {
	if s.Set() {
		return hidden
	}
	return ""
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from JSON, YAML and whatever else marshals.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalYAMLNode reads where the secret is found. A secret that is in the
// file itself is refused, and not repeated in the complaint.
func (s *Secret) UnmarshalYAMLNode(node strictyaml.Node) error {
	if node.Kind() != strictyaml.Map {
		return node.Complain("a secret must not be written in this file", secretForm)
	}
	if err := node.Decode(&s.from); err != nil {
		return err
	}
	return s.from.given(node)
}

// given complains when there is no source.
func (from secretSource) given(node strictyaml.Node) error {
	if from == (secretSource{}) {
		return node.Complain("nothing says where this secret is found", secretForm)
	}
	return nil
}

// WebhookSecret is a secret that verifies webhooks. Its source may be followed by a
// scope: {env: NAME, repositories: [PATTERN]}.
type WebhookSecret struct {
	Secret
	// Repositories are patterns of the full names of the repositories that it may speak
	// of, as in rules. Default: every repository of the connection.
	Repositories []string
}

// UnmarshalYAMLNode reads where the secret is found, and its scope.
func (s *WebhookSecret) UnmarshalYAMLNode(node strictyaml.Node) error {
	if node.Kind() != strictyaml.Map {
		return s.Secret.UnmarshalYAMLNode(node)
	}
	var content struct {
		Env          string   `yaml:"env"`
		File         string   `yaml:"file"`
		Repositories []string `yaml:"repositories"`
	}
	if err := node.Decode(&content); err != nil {
		return err
	}
	s.from, s.Repositories = secretSource{Env: content.Env, File: content.File}, content.Repositories
	return s.from.given(node)
}

// MarshalYAML hides the secret and shows its scope.
func (s WebhookSecret) MarshalYAML() (any, error) {
	if len(s.Repositories) == 0 {
		return s.String(), nil
	}
	return struct {
		Secret       string   `yaml:"secret"`
		Repositories []string `yaml:"repositories"`
	}{s.String(), s.Repositories}, nil
}

// resolve reads the secret from where the document says that it is found, and does
// nothing when the document says nothing. It returns what is wrong and what to write
// instead, neither of which shows the value.
func (s *Secret) resolve(join func(string) string, env func(string) (string, bool), readFile func(string) ([]byte, error)) (problem, instead string) {
	switch {
	case !s.Set():
		return "", ""
	case s.from.Env != "" && s.from.File != "":
		return "this secret is said to be in two places", "write either {env: NAME} or {file: PATH}"
	case s.from.Env != "":
		return s.fromEnv(env)
	default:
		s.path = join(s.from.File)
		return s.fromFile(s.path, readFile)
	}
}

func (s *Secret) fromEnv(env func(string) (string, bool)) (problem, instead string) {
	// A text that is not a name may be the secret itself: it is not repeated.
	if !envPattern.MatchString(s.from.Env) {
		return "this is not the name of an environment variable", "write {env: NAME} with letters, digits and _"
	}
	value, found := env(s.from.Env)
	if !found {
		return fmt.Sprintf("the environment variable %s is not set", s.from.Env), "set it, or name another"
	}
	if strings.TrimSpace(value) == "" {
		return fmt.Sprintf("the environment variable %s is empty", s.from.Env), "give it a value: an empty secret protects nothing"
	}
	s.value = &value
	return "", ""
}

func (s *Secret) fromFile(path string, readFile func(string) ([]byte, error)) (problem, instead string) {
	data, err := readFile(path)
	if err != nil {
		return fmt.Sprintf("the secret's file cannot be read: %v", err), "make it readable, or name another"
	}
	if len(data) > maxSecret {
		return fmt.Sprintf("the file %q is too long for a secret", path), "name the file that holds the secret and nothing else"
	}
	value := strings.TrimRight(string(data), "\r\n")
	if strings.TrimSpace(value) == "" {
		return fmt.Sprintf("the file %q is empty", path), "write the secret into it: an empty secret protects nothing"
	}
	s.value = &value
	return "", ""
}
