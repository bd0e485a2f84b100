package escape_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/escape"
)

// hostile has one of each kind: C0, DEL, C1, directions, separators, what cannot be
// seen, one beyond 16 bits, and an invalid byte.
const hostile = "a\x1b[2Jb\r\x00\x7f\u009b31m\u0085\u061c\u200e\u202e\u2066\u2028\u2029\u200b\ufeff\U000e0041\xffz"

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		"plain: Größe 尺寸 🙂": "plain: Größe 尺寸 🙂",
		"a\nb\tc":           `a\u000ab\u0009c`,
		hostile:             `a\u001b[2Jb\u000d\u0000\u007f\u009b31m\u0085\u061c\u200e\u202e\u2066\u2028\u2029\u200b\ufeff\udb40\udc41` + "\ufffdz",
	} {
		if got := escape.Line(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestWriter: the layout stays, and a character that is written in two parts is one.
func TestWriter(t *testing.T) {
	const text = "id\tname\nä\u202eb\r\n"
	for cut := range len(text) {
		var out bytes.Buffer
		w := escape.NewWriter(&out)
		for _, part := range []string{text[:cut], text[cut:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("wrote %d of %d, error %v", n, len(part), err)
			}
		}
		if want := "id\tname\nä\\u202eb\\u000d\n"; out.String() != want {
			t.Errorf("cut at %d: %q, want %q", cut, out.String(), want)
		}
	}
}

// FuzzEscape holds that no output has a character that acts, and that JSON stays JSON
// with the same values.
func FuzzEscape(f *testing.F) {
	f.Add(hostile, 3)
	f.Add("\xe2\x80\xae", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		if line := escape.Line(text); !utf8.ValidString(line) || strings.ContainsFunc(line, acts) {
			t.Errorf("line %q", line)
		}
		document, err := json.MarshalIndent(map[string]string{"text": text}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		cut = min(max(cut, 0), len(document))
		var out bytes.Buffer
		w := escape.NewWriter(&out)
		w.Write(document[:cut])
		w.Write(document[cut:])
		if strings.ContainsFunc(out.String(), func(r rune) bool { return acts(r) && r != '\n' && r != '\t' }) {
			t.Errorf("output %q", out.String())
		}
		var read map[string]string
		if err := json.Unmarshal(out.Bytes(), &read); err != nil || read["text"] != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
			t.Errorf("read back %q, error %v, from %s", read["text"], err, out.String())
		}
	})
}

func acts(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }
