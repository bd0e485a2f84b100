package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
)

// TestWatcher holds which changes in the file system are changes of the configuration,
// also when they come after others.
func TestWatcher(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(f folder)
		matters bool
	}{
		"the server file is written":         {func(f folder) { f.write("etc/gatewright.yaml") }, true},
		"the server file is replaced":        {func(f folder) { f.write("etc/new"); f.rename("etc/new", "etc/gatewright.yaml") }, true},
		"a secret is written":                {func(f folder) { f.write("secrets/real/hub") }, true},
		"a secret appears":                   {func(f folder) { f.write("secrets/real/missing") }, true},
		"the link to a secret is replaced":   {func(f folder) { f.link("real/missing", "secrets/new"); f.rename("secrets/new", "secrets/hub") }, true},
		"a folder of secrets appears":        {func(f folder) { f.folder("later") }, true},
		"the folder on the way is replaced":  {func(f folder) { f.link("secrets", "new"); f.rename("new", "mounted") }, true},
		"the folder itself is replaced":      {func(f folder) { f.rename("etc", "old"); f.folder("etc"); f.write("etc/gatewright.yaml") }, true},
		"a rules file is written":            {func(f folder) { f.write("rules/a.yaml") }, true},
		"a rules file appears":               {func(f folder) { f.write("rules/b.yml") }, true},
		"a rules file is removed":            {func(f folder) { f.remove("rules/a.yaml") }, true},
		"where a rules file leads to":        {func(f folder) { f.write("elsewhere/c.yaml") }, true},
		"the database is written":            {func(f folder) { f.write("etc/gatewright.db-wal") }, false},
		"another file in a folder of a rule": {func(f folder) { f.write("rules/README.md") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := folder{t, t.TempDir()}
			for _, dir := range []string{"etc", "secrets/real", "rules", "elsewhere"} {
				f.folder(dir)
			}
			for _, file := range []string{"etc/gatewright.yaml", "etc/gatewright.db-wal", "secrets/real/hub", "rules/a.yaml", "elsewhere/c.yaml"} {
				f.write(file)
			}
			f.link("real/hub", "secrets/hub")
			f.link("secrets", "mounted")
			f.link("../elsewhere/c.yaml", "rules/c.yaml")

			w := newWatcher(zap.NewNop())
			defer w.close()
			in := &inputs{rules: f.path("rules")}
			for _, file := range []string{"etc/gatewright.yaml", "mounted/hub", "secrets/real/missing", "later/secret"} {
				in.files = append(in.files, f.path(file))
			}
			// What is watched can be replaced.
			w.watch(&inputs{rules: f.path("elsewhere")})
			// A change before this call may have been missed; after it, none is.
			if first, second := w.watch(in), w.watch(in); !first || second {
				t.Errorf("something new is watched: %v, then %v", first, second)
			}
			test.change(f)
			// The last change is one that matters, so that the wait ends.
			f.write("rules/z.yaml")
			if matters := f.mattersBeforeLast(w); matters != test.matters {
				t.Errorf("it matters: %v", matters)
			}
		})
	}
}

// folder is where a test changes files.
type folder struct {
	*testing.T
	root string
}

func (f folder) path(name string) string { return filepath.Join(f.root, name) }

func (f folder) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f folder) folder(name string) { f.Helper(); f.must(os.MkdirAll(f.path(name), 0o700)) }
func (f folder) write(name string) {
	f.Helper()
	f.must(os.WriteFile(f.path(name), []byte("x"), 0o600))
}
func (f folder) link(to, name string)   { f.Helper(); f.must(os.Symlink(to, f.path(name))) }
func (f folder) rename(from, to string) { f.Helper(); f.must(os.Rename(f.path(from), f.path(to))) }
func (f folder) remove(name string)     { f.Helper(); f.must(os.Remove(f.path(name))) }

// mattersBeforeLast reports whether a change mattered before that of rules/z.yaml.
func (f folder) mattersBeforeLast(w *watcher) bool {
	deadline := time.After(time.Minute)
	for matters := false; ; {
		select {
		case e := <-w.events:
			if e.Name == f.path("rules/z.yaml") {
				return matters
			}
			matters = matters || w.matters(e)
		case err := <-w.errors:
			f.Fatal(err)
		case <-deadline:
			f.Fatal("the last change is not told")
		}
	}
}
