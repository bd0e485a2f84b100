// Package gatewright_test holds what is true of the project as a whole: who may
// import whom, and that documents name only what exists.
package gatewright_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatewright/gatewright/"

// mayImport is the import table of ARCHITECTURE.md, for our own packages. A
// package that is not here may not exist under internal/.
var mayImport = map[string][]string{
	"event":       {},
	"escape":      {},
	"strictyaml":  {},
	"rules":       {"event", "strictyaml"},
	"config":      {"rules", "strictyaml", "notify"},
	"huaweicloud": {},
	"codecheck":   {"event", "rules", "huaweicloud"},
	"release":     {"event", "rules", "huaweicloud"},
	"webhook":     {"event"},
	"forge":       {"event"},
	"audit":       {},
	"evidence":    {},
	"notify":      {},
	"store":       {"event", "rules", "huaweicloud", "codecheck", "release", "audit"},
	"report":      {"event", "escape", "codecheck", "release", "forge"},
	"jobs":        {"event", "rules", "codecheck", "release", "forge", "report", "store", "audit", "evidence", "notify"},
	"standin":     {"strictyaml"},
	"storetest":   {},
	"golden":      {},

	"view":   {"audit", "event", "rules", "codecheck", "release", "store"},
	"access": {"event", "store", "webhook"},

	"dashboard": {"access", "audit", "event", "rules", "codecheck", "release", "store", "view", "webhook"},

	"hooks":   {"forge"},
	"doctor":  {"event", "rules", "config", "huaweicloud", "codecheck", "release", "store", "hooks", "audit"},
	"tasks":   {"event", "rules", "codecheck", "store"},
	"api":     {"access", "event", "rules", "codecheck", "release", "store", "view", "webhook"},
	"app":     {"event", "escape", "strictyaml", "rules", "config", "huaweicloud", "codecheck", "release", "forge", "report", "webhook", "store", "jobs", "doctor", "tasks", "hooks", "access", "api", "dashboard", "notify"},
	"command": {"escape"},
	"demo":    {"app", "config", "event", "evidence", "standin", "store", "view", "webhook"},
	"apptest": {"command", "demo", "event", "codecheck", "storetest"},
}

// onlyIn names the packages that alone may import a module, and why.
var onlyIn = []struct {
	prefix string
	in     []string
	why    string
}{
	{"github.com/labstack/echo/v4", []string{"internal/webhook", "internal/access", "internal/api", "internal/dashboard", "internal/app", "test/bench"}, "the HTTP framework stays at the edge; the bench serves the webhook endpoint without the rest"},
	{module + "internal/standin", []string{"cmd/demo", "internal/demo", "test/harness", "test/crash", "test/faults", "test/attack"}, "the service is never linked with what it is tested against"},
	{module + "internal/demo", []string{"cmd/demo", "internal/apptest"}, "the service is never linked with what it is tested against"},
	{module + "internal/apptest", nil, "only tests import it"},
	{module + "internal/golden", nil, "only tests import it"},
	{"github.com/google/go-github", []string{"internal/webhook", "internal/forge"}, "a host's shapes are translated where they come in"},
	{"github.com/xanzy/go-gitlab", []string{"internal/webhook", "internal/forge"}, "a host's shapes are translated where they come in"},
	{"github.com/owenrumney/go-sarif", []string{"internal/view"}, "one place writes SARIF"},
	{"go.yaml.in/yaml", []string{"internal/strictyaml", "internal/standin"}, "every file is read with the same strictness; the stand-in scans any repository for syntax errors"},
	{"github.com/coreos/go-oidc", []string{"internal/access"}, "one package knows how people log in"},
	{"golang.org/x/oauth2", []string{"internal/access"}, "one package knows how people log in"},
	{"modernc.org/sqlite", []string{"internal/store"}, "one package knows the database"},
	{"github.com/jackc/pgx", []string{"internal/store", "internal/storetest", "internal/jobs"}, "one package knows the database; jobs names its transaction"},
	{"github.com/a-h/templ", []string{"internal/dashboard"}, "one place writes HTML"},
	{"github.com/chromedp", nil, "a browser is for tests only"},
	{"github.com/santhosh-tekuri/jsonschema", nil, "only tests check documents by their schemas"},
	{"github.com/fsnotify/fsnotify", []string{"internal/app"}, "one place watches files"},
	{"github.com/riverqueue/river", []string{"internal/jobs"}, "one package knows the queue"},
	{"github.com/go-git/go-git", []string{"internal/standin"}, "the service itself never clones"},
	{"github.com/zricethezav/gitleaks", []string{"internal/standin"}, "the service itself never scans"},
	{"github.com/prometheus/client_golang/prometheus/promauto", nil, "nothing is registered on the default registry"},
}

// neverLinked names what the program gatewright must not contain, directly or through
// others, and why.
var neverLinked = []struct{ prefix, why string }{
	{module + "internal/standin", "the stand-in is for the demo and the tests"},
	{module + "internal/demo", "the demo is the program gatewright-demo"},
	{"github.com/zricethezav/gitleaks", "the service never scans, and a scanner brings 70 modules with their vulnerabilities"},
	{"github.com/go-git/go-git", "the service never clones"},
	{"github.com/go-enry/go-enry", "the service never looks at source code"},
	{"github.com/zitadel/oidc", "it is the OpenID provider of the tests"},
	{"mvdan.cc/sh", "the service never looks at source code"},
	{"github.com/Shopify/toxiproxy", "it is for the proof with network faults"},
	{"github.com/ulikunitz/xz", "GO-2025-3922: a crafted archive exhausts memory"},
	{"github.com/chromedp", "a browser is for tests only"},
	{"testing", "a test helper has been imported by the service"},
}

// TestServerLinks checks what is linked into the program gatewright.
func TestServerLinks(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/server").Output()
	if err != nil {
		t.Fatalf("list dependencies: %v", err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, module+"internal/app") {
		t.Fatal("the list of dependencies lacks internal/app")
	}
	for _, ban := range neverLinked {
		for _, path := range linked {
			if path == ban.prefix || strings.HasPrefix(path, ban.prefix+"/") {
				t.Errorf("cmd/server links %s: %s", path, ban.why)
			}
		}
	}
}

type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func goList(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestImports(t *testing.T) {
	seen := 0
	for _, p := range goList(t) {
		place := strings.TrimPrefix(p.ImportPath, module)
		name, internal := strings.CutPrefix(place, "internal/")
		allowed, listed := mayImport[name]
		if internal && !listed {
			t.Errorf("%s is not in the import table: add it there and in ARCHITECTURE.md, with its reason", place)
		}
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module+"internal/"); ok && internal && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports internal/%s, which the import table does not allow", place, ours)
			}
			for _, rule := range onlyIn {
				if strings.HasPrefix(imported, rule.prefix) && !slices.Contains(rule.in, place) {
					t.Errorf("%s imports %s: %s", place, imported, rule.why)
				}
			}
		}
		if internal {
			seen++
		}
	}
	if seen != len(mayImport) {
		t.Errorf("%d packages under internal/, but %d in the import table", seen, len(mayImport))
	}
}

// pathInText finds what a document calls a path: in backquotes, beginning with
// one of our folders or being one of our files.
var pathInText = regexp.MustCompile("`((?:cmd|internal|test|configs|deploy|docs|\\.ci)/[^`\\s{}*…]*|[A-Z][A-Za-z]*\\.md|Makefile|Dockerfile)`")

// TestDocuments holds that every path that a document names is there.
func TestDocuments(t *testing.T) {
	found := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range pathInText.FindAllStringSubmatch(string(text), -1) {
			found++
			name := match[1]
			if _, err := os.Stat(name); err != nil {
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), name)); err != nil {
					t.Errorf("%s names %q, which is not there", path, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 20 {
		t.Errorf("only %d paths found in the documents: the pattern no longer sees them", found)
	}
}

// TestWhereIs holds that what the last table of ARCHITECTURE.md says is true: each path
// is there, and each name that follows the path of a Go file is declared in that file.
func TestWhereIs(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n## Where is …?\n")
	if !found {
		t.Fatal(`ARCHITECTURE.md has no part "Where is …?"`)
	}
	names := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "-") || cells[1] == " what " {
			continue
		}
		path := ""
		for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[2], -1) {
			word := quoted[1]
			if !token.IsIdentifier(word) || word == "Dockerfile" {
				path = word
				if _, err := os.Stat(path); err != nil {
					t.Errorf("the row%sof ARCHITECTURE.md names %q, which is not there", cells[1], path)
				}
				continue
			}
			names++
			if !slices.Contains(declared(t, path), word) {
				t.Errorf("the row%sof ARCHITECTURE.md names %s in %q, which does not declare it", cells[1], word, path)
			}
		}
		if path == "" {
			t.Errorf("the row%sof ARCHITECTURE.md names no path", cells[1])
		}
	}
	if names < 50 {
		t.Errorf("only %d names found: the test no longer sees the table", names)
	}
}

// declared returns the functions, methods, types, constants and variables that a Go file
// declares outside its functions; none for another file.
func declared(t *testing.T, path string) (names []string) {
	t.Helper()
	if filepath.Ext(path) != ".go" {
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("parse %q: %v", path, err)
		return nil
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			names = append(names, decl.Name.Name)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, spec.Name.Name)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// TestFolders holds that ARCHITECTURE.md has a row for each package under internal/.
func TestFolders(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range mayImport {
		if !regexp.MustCompile("(?m)^\\| .*`internal/" + name + "`.* \\|$").Match(text) {
			t.Errorf("ARCHITECTURE.md has no row for internal/%s", name)
		}
	}
}
