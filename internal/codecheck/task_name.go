package codecheck

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
)

// longestName is the most characters that a task's name may have
// (specs/codearts-check.md 1.4).
const longestName = 128

// validName turns name into one that CodeArts Check takes: letters a-z and A-Z,
// digits, Chinese characters, ".", "-" and "_", 1 to 128 of them. Every run of
// others becomes one "-". A name that has to be cut ends in a hash of the whole,
// so that two long names stay different.
func validName(name string) string {
	var b strings.Builder
	for _, r := range name {
		if validInName(r) {
			b.WriteRune(r)
		} else if !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	legal := strings.Trim(b.String(), "-")
	if legal == "" {
		return "task-" + shortHash(name)
	}
	if len([]rune(legal)) > longestName {
		return withHash(legal, name)
	}
	return legal
}

func validInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9',
		r == '.', r == '-', r == '_':
		return true
	}
	return unicode.Is(unicode.Han, r)
}

// uniqueName is the legal form of name, with a hash of the repository and
// branch where another task has that name already.
func uniqueName(name, repositoryKey, branch string, taken func(string) bool) string {
	legal := validName(name)
	if !taken(legal) {
		return legal
	}
	return withHash(legal, repositoryKey+" "+branch)
}

// withHash ends name in a short hash of of, and cuts it where it would get too
// long.
func withHash(name, of string) string {
	end := "-" + shortHash(of)
	runes := []rune(name)
	if room := longestName - len(end); len(runes) > room {
		runes = runes[:room]
	}
	return string(runes) + end
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}
