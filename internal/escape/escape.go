// Package escape makes text from outside safe to print: payloads, logs of CodeArts and
// answers of ServiceStage can hold characters that move the cursor of a terminal, hide
// what was printed before, show text in another order or begin a line of their own.
// Such a character is written as \u202e, in text as in JSON.
package escape

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// acts says that a character does something other than to be seen: control characters
// (C0, DEL, C1), line and paragraph separators, and format characters, which are those
// for the direction of text and those that cannot be seen.
func acts(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Line returns text as it can stand in a line: line breaks and tabs are escaped too. An
// invalid byte becomes U+FFFD.
func Line(text string) string {
	var b strings.Builder
	for _, r := range text {
		if acts(r) {
			b.WriteString(escaped(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escaped is a character as Go and JSON write it.
func escaped(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// Writer passes on what is written to it with every such character escaped, but for the
// line breaks and tabs of the layout. In JSON the value stays the same, because there a
// character can only stand in a text. Several goroutines may use it at once.
type Writer struct {
	w    io.Writer
	lock sync.Mutex
	// begun is the beginning of a character whose end is to be written next.
	begun []byte
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Unwrap returns what is written to, for a caller that escapes by itself and needs, for
// instance, colours.
func (w *Writer) Unwrap() io.Writer { return w.w }

// Write writes p. The count is that of p, or 0 with an error.
func (w *Writer) Write(p []byte) (int, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	text := append(w.begun, p...)
	w.begun = nil
	var out bytes.Buffer
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			w.begun = bytes.Clone(text)
			break
		}
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		if r != '\n' && r != '\t' && acts(r) {
			out.WriteString(escaped(r))
		} else {
			out.WriteRune(r)
		}
	}
	if _, err := w.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
