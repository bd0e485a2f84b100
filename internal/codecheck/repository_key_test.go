package codecheck

import (
	"os"
	"strings"
	"testing"
)

// keyGroups reads testdata/repository_keys.txt: key → addresses.
func keyGroups(t testing.TB) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/repository_keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	groups, key := map[string][]string{}, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			key = ""
		case key == "":
			key = line
		default:
			groups[key] = append(groups[key], line)
		}
	}
	return groups
}

func TestRepositoryKey(t *testing.T) {
	groups := keyGroups(t)
	if len(groups) < 8 {
		t.Fatalf("only %d groups were read", len(groups))
	}
	for key, addresses := range groups {
		for _, address := range addresses {
			if got := RepositoryKey(address); got != key {
				t.Errorf("%q: key %q, want %q", address, got, key)
			}
		}
	}
}

func FuzzRepositoryKey(f *testing.F) {
	for _, addresses := range keyGroups(f) {
		for _, address := range addresses {
			f.Add(address)
		}
	}
	f.Fuzz(func(t *testing.T, address string) {
		key := RepositoryKey(address)
		if key != RepositoryKey(" "+address+"\n") || key != RepositoryKey(strings.ToLower(address)) {
			t.Errorf("%q: key %q depends on case or on space around it", address, key)
		}
		if path, _, _ := strings.Cut(address, "@"); strings.Contains(RepositoryKey("https://u:s3cret@host/"+path), "s3cret") && !strings.Contains(strings.ToLower(path), "s3cret") {
			t.Errorf("the key of https://u:s3cret@host/%s has the password", path)
		}
	})
}
