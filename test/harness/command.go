package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Databases are those that the word behind -database names: one, or both.
func Databases(word string) ([]string, error) {
	switch word {
	case "both":
		return []string{SQLite, Postgres}, nil
	case SQLite, Postgres:
		return []string{word}, nil
	}
	return nil, fmt.Errorf("-database %q: write %s, %s or both", word, SQLite, Postgres)
}

// Program returns the absolute path of the gatewright program: of the one at path, or
// where path is empty of one that is built. remove deletes what was built; it must be
// called when there is no error. The working directory must be inside the module.
func Program(ctx context.Context, path string) (program string, remove func() error, err error) {
	if path != "" {
		// A server may run in a folder of its own.
		program, err = filepath.Abs(path)
		return program, func() error { return nil }, err
	}
	folder, err := os.MkdirTemp("", "gatewright-build-")
	if err != nil {
		return "", nil, fmt.Errorf("build gatewright: %w", err)
	}
	program = filepath.Join(folder, "gatewright")
	remove = func() error { return os.RemoveAll(folder) }
	out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/gatewright/gatewright/cmd/server").CombinedOutput()
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("build gatewright: %w\n%s", err, strings.TrimSpace(string(out))), remove())
	}
	return program, remove, nil
}
