package webhook_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/webhook"
)

// TestBind reads the deliveries of testdata/bind, each on the connection that its
// file gives: a delivery that is not about a repository of its connection is an
// error that names both sides, and every other has the connection's addresses.
func TestBind(t *testing.T) {
	files, err := filepath.Glob("testdata/bind/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string][]byte{}
			for _, file := range archive.Files {
				parts[file.Name] = file.Data
			}
			var c webhook.Connection
			decoder := json.NewDecoder(bytes.NewReader(parts["connection"]))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&c); err != nil {
				t.Fatal(err)
			}
			header, err := webhook.ReadHeaders(bytes.NewReader(parts["headers"]))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			ev, err := webhook.Parse(c, header, parts["payload"])
			if err != nil {
				got["error"] = err.Error()
			} else {
				got["https_url"], got["ssh_url"] = ev.Repository.HTTPSURL, ev.Repository.SSHURL
			}
			if strings.Contains(got["error"], "hunter2") {
				t.Error("the error shows a password")
			}
			golden.JSON(t, strings.TrimSuffix(path, ".txtar")+".golden", got)
		})
	}
}
