package codecheck

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Finding is one open defect of a run.
type Finding struct {
	// ID is the service's `defect_id`; where that is missing or no word, one of ours.
	ID string `json:"id"`
	// Fingerprint is the same for the same finding in two runs, also when its line has
	// moved; see fingerprint.
	Fingerprint string `json:"fingerprint"`
	// Severity is critical, major, minor or suggestion.
	Severity string `json:"severity"`
	// Rule is the name of the rule, else of the checker; RuleID is the service's number
	// of the rule, and may be empty.
	Rule   string `json:"rule"`
	RuleID string `json:"rule_id"`
	// Path is as the service gives it, Line 0 where it gives none.
	Path    string `json:"path"`
	Line    int    `json:"line"`
	Message string `json:"message"`
	// Baseline compares the finding with an earlier run.
	Baseline Baseline `json:"baseline"`
}

// Baseline says whether a finding was there before; empty where that is not known.
type Baseline string

const (
	// BaselineNew was not found by the run that is compared with.
	BaselineNew Baseline = "new"
	// BaselineUnchanged was found by it too.
	BaselineUnchanged Baseline = "unchanged"
)

// The longest texts of a finding, in bytes.
const (
	longestID      = 128
	longestRule    = 256
	longestPath    = 1024
	longestMessage = 2000
)

// severities are the names of defect_level 0 to 3 (1.11).
func severities() []string { return []string{"critical", "major", "minor", "suggestion"} }

// severityOf reads a defect_level: its number, or one of the words that the family of
// calls has for it (1.11); fallback when it is none of them.
func severityOf(level string, fallback int) string {
	words := [][]string{
		{"0", "critical", "fatal"}, {"1", "major", "serious"}, {"2", "minor", "normal"}, {"3", "suggestion", "prompt", "hint"},
	}
	for i, known := range words {
		if slices.Contains(known, strings.ToLower(strings.TrimSpace(level))) {
			return severities()[i]
		}
	}
	return severities()[fallback]
}

// fingerprint identifies a finding by its rule, its file and the text of its line without
// spaces, so that lines that were added above it, or another indent, do not make it a new
// one. Where the service gives no code, the message takes its place, with digits blanked,
// because messages name lines. The service's own `defect_id` and `issue_key` are not
// used: whether they are the same in the tasks of a branch and of a merge request is not
// documented, and an id that means something else there would hide a new defect.
func fingerprint(rule, path, code, message string) string {
	text := squeezed(code)
	if text == "" {
		text = "\x00" + squeezed(strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return '0'
			}
			return r
		}, message))
	}
	return hashed(rule, path, text)
}

// squeezed is text without any white space.
func squeezed(text string) string { return strings.Join(strings.Fields(text), "") }

// hashed is 32 hex digits that stand for the parts.
func hashed(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00\x00")))
	return hex.EncodeToString(sum[:16])
}

// bounded cuts text to a number of bytes, at the end of a character.
func bounded(text string, most int) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD")
	if len(text) <= most {
		return text
	}
	cut := most - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// wordOr is an id that can be kept as it is, else what stands for it.
func wordOr(id, other string) string {
	plain := func(r rune) bool { return r > ' ' && r < unicode.MaxASCII }
	if id == "" || len(id) > longestID || strings.ContainsFunc(id, func(r rune) bool { return !plain(r) }) {
		return other
	}
	return id
}

// sortFindings puts the most severe first, then in the order of files and lines.
func sortFindings(list []Finding) {
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(
			slices.Index(severities(), a.Severity)-slices.Index(severities(), b.Severity),
			strings.Compare(a.Path, b.Path), a.Line-b.Line, strings.Compare(a.ID, b.ID))
	})
}

// compareFindings marks each finding as new or unchanged, and counts the new ones. Of
// several with one fingerprint as many are unchanged as there were before.
func compareFindings(list, before []Finding) Counts {
	old := map[string]int{}
	for _, f := range before {
		old[f.Fingerprint]++
	}
	var fresh []Finding
	for i := range list {
		f := &list[i]
		if old[f.Fingerprint] > 0 {
			old[f.Fingerprint]--
			f.Baseline = BaselineUnchanged
			continue
		}
		f.Baseline = BaselineNew
		fresh = append(fresh, *f)
	}
	return countFindings(fresh)
}

func countFindings(list []Finding) (c Counts) {
	for _, f := range list {
		switch f.Severity {
		case "critical":
			c.Critical++
		case "major":
			c.Major++
		case "minor":
			c.Minor++
		default:
			c.Suggestion++
		}
	}
	return c
}

// bySeverity are the four counts, critical first.
func (c Counts) bySeverity() [4]int { return [4]int{c.Critical, c.Major, c.Minor, c.Suggestion} }
