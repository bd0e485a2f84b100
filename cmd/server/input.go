package main

import (
	"fmt"
	"io"
	"os"
)

// readFile reads a file, or standard input when the path is "-", up to limit
// bytes.
func readFile(path string, stdin io.Reader, limit int64) ([]byte, error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %q: longer than %d bytes", path, limit)
	}
	return data, nil
}
