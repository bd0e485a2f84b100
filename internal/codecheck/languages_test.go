package codecheck

import (
	"slices"
	"testing"
)

func TestLanguagesOf(t *testing.T) {
	for name, test := range map[string]struct {
		dialect string
		host    []string
		names   []string
		reason  string
	}{
		"all":          {Dialect2026, []string{"Go", "TypeScript"}, []string{"GO", "TYPESCRIPT"}, "the host says Go, TypeScript"},
		"some":         {Dialect2026, []string{"Go", "Makefile", "PLpgSQL", "TSQL"}, []string{"GO", "SQL"}, "the host says Go, Makefile, PLpgSQL, TSQL; Makefile cannot be checked"},
		"none":         {Dialect2026, []string{"Makefile"}, nil, "the host says Makefile, none of which can be checked: the default ones"},
		"nothing":      {Dialect2026, nil, nil, "the host names no language: the default ones"},
		"2023 has ten": {Dialect2023, []string{"Rust", "Java"}, []string{"JAVA"}, "the host says Rust, Java; Rust cannot be checked"},
	} {
		got := (&Checker{options: Options{Dialect: test.dialect}}).languagesOf(test.host)
		if !slices.Equal(got.Names, test.names) || got.Reason != test.reason {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSameLanguage(t *testing.T) {
	for _, same := range [][2]string{{"C++", "cpp"}, {"js", "JAVASCRIPT"}, {"go", "GO"}, {"Custom", "CUSTOM"}} {
		if !SameLanguage(same[0], same[1]) {
			t.Errorf("%q and %q differ", same[0], same[1])
		}
	}
	if SameLanguage("C", "C++") {
		t.Error("C is C++")
	}
}
