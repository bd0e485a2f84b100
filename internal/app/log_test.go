package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/config"
)

// TestLog holds that whatever is logged is one line without a character that acts on a
// terminal, in both formats, and that JSON keeps the value.
func TestLog(t *testing.T) {
	const text = "\x1b[2J\u009b31m\u202egpj.exe\u2028{\"level\":\"error\"}\n\r\x7f\u200b"
	for _, format := range []string{"json", "console"} {
		var out bytes.Buffer
		log, err := app.NewLog(config.Log{Level: "info", Format: format}, &out)
		if err != nil {
			t.Fatal(err)
		}
		log.With(zap.String("context", text)).Info("a", zap.String("text", text), zap.Error(errors.New(text)), zap.Strings("list", []string{text}),
			zap.Any("object", map[string]string{text: text}), zap.ByteString("bytes", []byte(text)))
		zap.NewStdLog(log).Print(text)
		lines := strings.SplitAfter(out.String(), "\n")
		if len(lines) != 3 || lines[2] != "" {
			t.Fatalf("%s: %q are not two lines", format, out.String())
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool {
			return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}) {
			t.Errorf("%s: %q", format, out.String())
		}
		if format == "console" {
			continue
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &entry); err != nil || entry["text"] != text {
			t.Errorf("read back %q, error %v, want %q", entry["text"], err, text)
		}
	}
}
