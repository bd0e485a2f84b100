package codecheck

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTaskNames(t *testing.T) {
	for name, want := range map[string]string{
		"api-main":                    "api-main",
		"acme/api-feature/discount":   "acme-api-feature-discount",
		"支付 服务_v1.2":                  "支付-服务_v1.2",
		"a  b":                        "a-b",
		"//x//":                       "x",
		"":                            "task-e3b0c442",
		strings.Repeat("x", 128):      strings.Repeat("x", 128),
		strings.Repeat("é", 3) + "ok": "ok",
	} {
		if got := validName(name); got != want || !isLegal(got) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("长", 200)
	a, b := validName(long+"a"), validName(long+"b")
	if a == b || !isLegal(a) || utf8.RuneCountInString(a) != 128 {
		t.Errorf("two long names became %q and %q", a, b)
	}
	taken := indexOf(listedTask{ID: "t", Name: "a-b"}).taken
	if got := uniqueName("a b", "github.com/acme/api", "main", taken); got == "a-b" || !isLegal(got) || !strings.HasPrefix(got, "a-b-") {
		t.Errorf("taken name became %q", got)
	}
	if uniqueName("a b", "k", "main", taken) == uniqueName("a b", "k", "dev", taken) {
		t.Error("two branches got one name")
	}
}

func isLegal(name string) bool {
	n := utf8.RuneCountInString(name)
	return n >= 1 && n <= 128 && !strings.ContainsFunc(name, func(r rune) bool { return !validInName(r) })
}

func FuzzTaskName(f *testing.F) {
	f.Add("acme/api-main")
	f.Add(strings.Repeat("中", 300))
	f.Fuzz(func(t *testing.T, name string) {
		legal := validName(name)
		if !isLegal(legal) || validName(legal) != legal {
			t.Errorf("%q became %q", name, legal)
		}
		if unique := uniqueName(name, "k", "b", func(name string) bool { return name == legal }); !isLegal(unique) || unique == legal {
			t.Errorf("%q became %q although taken", name, unique)
		}
	})
}
