package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	goformat "go/format"
	goparser "go/parser"
	goscanner "go/scanner"
	gotoken "go/token"
	"slices"
	"strings"
	"sync"

	"github.com/zricethezav/gitleaks/v8/detect"
	"mvdan.cc/sh/v3/syntax"
)

// scanText runs every scanner over one text file. The defects have no ID and no
// Path yet.
func scanText(ctx context.Context, path, language string, text []byte) ([]defect, error) {
	defects, err := scanSecrets(ctx, path, text)
	if err != nil {
		return nil, err
	}
	switch language {
	case "Go":
		defects = append(defects, scanGo(text)...)
	case "JSON":
		defects = append(defects, scanJSON(text)...)
	case "YAML":
		defects = append(defects, scanYAML(text)...)
	case "Shell":
		defects = append(defects, scanShell(path, text)...)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		defects = append(defects, defect{
			Checker: "text", Rule: "no-final-newline", Severity: suggestion, Line: bytes.Count(text, []byte("\n")) + 1,
			Message: "the file does not end with a newline", Fix: "end the last line with a newline",
		})
	}
	lines := bytes.Split(text, []byte("\n"))
	for i, d := range defects {
		if d.Content == "" && d.Line >= 1 && d.Line <= len(lines) {
			defects[i].Content = clip(strings.ToValidUTF8(string(lines[d.Line-1]), "�"))
		}
	}
	return defects, nil
}

// secretDetector is gitleaks with its own rules. Making it compiles hundreds of
// expressions and goes through state that gitleaks shares between detectors, so
// it is made once, when first wanted; it is safe for concurrent use.
var secretDetector = sync.OnceValues(detect.NewDetectorDefaultConfig)

// scanSecrets finds credentials: critical.
func scanSecrets(ctx context.Context, path string, text []byte) ([]defect, error) {
	detector, err := secretDetector()
	if err != nil {
		return nil, fmt.Errorf("make the secret scanner: %w", err)
	}
	var defects []defect
	//lint:ignore SA1019 the detector of v8 takes this type and no other
	for _, f := range detector.DetectContext(ctx, detect.Fragment{Raw: string(text), FilePath: path}) {
		defects = append(defects, defect{
			Checker: "gitleaks", Rule: f.RuleID, Severity: critical, Line: f.StartLine + 1,
			Message: f.Description,
			Content: clip(strings.ReplaceAll(strings.TrimSpace(f.Line), f.Secret, "<secret>")),
			Fix:     "revoke the credential and take it out of the history",
		})
	}
	slices.SortFunc(defects, func(a, b defect) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return defects, nil
}

// scanGo finds the first syntax error, as those after it are mostly its
// consequences: major; or, where there is none, code that gofmt would change:
// minor.
func scanGo(text []byte) []defect {
	_, err := goparser.ParseFile(gotoken.NewFileSet(), "", text, goparser.SkipObjectResolution)
	var list goscanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return []defect{syntaxError("go", list[0].Pos.Line, list[0].Msg)}
	}
	if err != nil {
		return []defect{syntaxError("go", 1, err.Error())}
	}
	formatted, err := goformat.Source(text)
	if err != nil || bytes.Equal(formatted, text) {
		return nil
	}
	return []defect{{
		Checker: "gofmt", Rule: "not-formatted", Severity: minor, Line: firstDifference(text, formatted),
		Message: "the file is not formatted by gofmt", Fix: "run gofmt -w on the file",
	}}
}

// firstDifference returns the number of the first line that differs.
func firstDifference(a, b []byte) int {
	common := 0
	for common < min(len(a), len(b)) && a[common] == b[common] {
		common++
	}
	return bytes.Count(a[:common], []byte("\n")) + 1
}

func scanJSON(text []byte) []defect {
	var value any
	err := json.Unmarshal(text, &value)
	if err == nil || len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	line := 1
	var at *json.SyntaxError
	if errors.As(err, &at) {
		line += bytes.Count(text[:min(int(at.Offset), len(text))], []byte("\n"))
	}
	return []defect{syntaxError("json", line, err.Error())}
}

// scanShell reads a script as the shell of its first line would, bash when that
// names none.
func scanShell(path string, text []byte) []defect {
	variant := syntax.LangBash
	first, _, _ := bytes.Cut(text, []byte("\n"))
	switch {
	case !bytes.HasPrefix(first, []byte("#!")):
	case bytes.Contains(first, []byte("zsh")):
		variant = syntax.LangZsh
	case bytes.Contains(first, []byte("ksh")):
		variant = syntax.LangMirBSDKorn
	case bytes.HasSuffix(bytes.TrimSpace(first), []byte("/sh")), bytes.HasSuffix(bytes.TrimSpace(first), []byte(" sh")):
		variant = syntax.LangPOSIX
	}
	_, err := syntax.NewParser(syntax.Variant(variant)).Parse(bytes.NewReader(text), path)
	if err == nil {
		return nil
	}
	line, message := 1, err.Error()
	var parse syntax.ParseError
	var lang syntax.LangError
	switch {
	case errors.As(err, &parse):
		line, message = int(parse.Pos.Line()), parse.Text
	case errors.As(err, &lang):
		line, message = int(lang.Pos.Line()), "a construct that this shell does not have"
	}
	return []defect{syntaxError("shell", line, message)}
}

func syntaxError(language string, line int, message string) defect {
	return defect{
		Checker: language + "-parser", Rule: language + "-syntax", Severity: major, Line: line,
		Message: "syntax error: " + clip(message), Fix: "correct the syntax",
	}
}

// clip keeps what fits into one field of an answer.
func clip(s string) string {
	const limit = 500
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}
