package app_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/config"
)

func TestLocalURL(t *testing.T) {
	for addr, want := range map[string]string{
		":8080":           "http://127.0.0.1:8080",
		"0.0.0.0:9000":    "http://127.0.0.1:9000",
		"[::]:9000":       "http://127.0.0.1:9000",
		"127.0.0.2:80":    "http://127.0.0.2:80",
		"[::1]:8080":      "http://[::1]:8080",
		"localhost:18080": "http://localhost:18080",
		"127.0.0.1:0":     "",
	} {
		got, err := app.LocalURL(&config.Config{HTTP: config.HTTP{Addr: addr}})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, error %v, want %q", addr, got, err, want)
		}
	}
}
