package app

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/escape"
)

// NewLog makes the log that the server file describes. Programs write it to standard
// error, so that standard output holds only what a command prints. No message and no
// field can hold a character that acts on a terminal, or begin a line: see escape.
func NewLog(c config.Log, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	settings := zap.NewProductionEncoderConfig()
	settings.EncodeTime = zapcore.ISO8601TimeEncoder
	settings.EncodeDuration = zapcore.SecondsDurationEncoder
	encoder := zapcore.NewJSONEncoder(settings)
	if c.Format == "console" {
		encoder = lineEncoder{zapcore.NewConsoleEncoder(settings)}
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(escape.NewWriter(w))), level)), nil
}

// lineEncoder keeps a message in its line, which the console encoder does not do. The
// messages of net/http can have several lines.
type lineEncoder struct{ zapcore.Encoder }

func (e lineEncoder) Clone() zapcore.Encoder { return lineEncoder{e.Encoder.Clone()} }

func (e lineEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	entry.Message = escape.Line(entry.Message)
	return e.Encoder.EncodeEntry(entry, fields)
}
