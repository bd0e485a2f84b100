package gatewright_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/webhook"
)

// mayNameHosts finds the files that may distinguish git hosts: those of each host,
// the words themselves, and the demo, which plays the hosts.
func mayNameHosts(words []string) *regexp.Regexp {
	return regexp.MustCompile(`^internal/(webhook|forge)/(` + strings.Join(words, "|") + `)(_parse)?\.go$|^internal/event/event\.go$|^cmd/demo/[a-z_]+\.go$|^internal/(demo|apptest)/[a-z_]+\.go$`)
}

// TestHostsHaveTheirFiles holds that the program distinguishes git hosts in the
// files of the hosts only, so that a new host needs no change elsewhere: no other
// file names a host's constant or compares with its word.
func TestHostsHaveTheirFiles(t *testing.T) {
	var words []string
	for _, host := range webhook.Hosts() {
		words = append(words, string(host))
	}
	mayName := mayNameHosts(words)
	files, allowed := 0, 0
	for _, root := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			switch name := filepath.ToSlash(path); {
			case err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return err
			case mayName.MatchString(name):
				allowed++
				return nil
			}
			files++
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, at := range hostsNamed(file, words) {
				t.Errorf("%s distinguishes a git host: let its value in internal/webhook answer", set.Position(at))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 || allowed < len(words) {
		t.Errorf("%d files searched, %d of hosts skipped: the files are elsewhere now", files, allowed)
	}
}

// hostsNamed finds where a file names event.GitHub and the like, or has a host's
// word in a comparison or in a case.
func hostsNamed(file *ast.File, words []string) (found []token.Pos) {
	isWord := func(e ast.Expr) bool {
		literal, ok := e.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return false
		}
		text, err := strconv.Unquote(literal.Value)
		return err == nil && slices.Contains(words, text)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		var compared []ast.Expr
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "event" && slices.Contains(words, strings.ToLower(n.Sel.Name)) {
				found = append(found, n.Pos())
			}
		case *ast.BinaryExpr:
			compared = []ast.Expr{n.X, n.Y}
		case *ast.CaseClause:
			compared = n.List
		}
		if slices.ContainsFunc(compared, isWord) {
			found = append(found, n.Pos())
		}
		return true
	})
	return found
}

// TestHostsNamedFindsThem: the search of TestHostsHaveTheirFiles sees each way to
// distinguish a host.
func TestHostsNamedFindsThem(t *testing.T) {
	for source, want := range map[string]int{
		`func f(h event.Host) bool { return h == event.Gitee }`:                1,
		`func f(h event.Host) { switch h { case event.GitHub, event.Push: } }`: 1,
		`func f(kind string) bool { return "gitlab" != kind }`:                 1,
		`func f(kind string) { switch kind { case "gitee": } }`:                1,
		`var repoTypes = []string{"gitlab"}`:                                   0,
		`func f(k event.Kind) bool { return k == event.Push }`:                 0,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if found := hostsNamed(file, []string{"github", "gitlab", "gitee"}); len(found) != want {
			t.Errorf("%s: %d found, want %d", source, len(found), want)
		}
	}
}

// TestHostsAreOnBothSides: every kind of host whose webhooks are accepted can be asked too.
func TestHostsAreOnBothSides(t *testing.T) {
	for _, host := range webhook.Hosts() {
		connection := forge.Connection{Name: "c", Host: host, APIURL: "https://git.example.com/api", Token: "token"}
		if _, err := forge.New(forge.Options{Connections: []forge.Connection{connection}}); err != nil {
			t.Error(err)
		}
	}
}

// TestLargestBodies: what the server file may say is what the endpoint takes.
func TestLargestBodies(t *testing.T) {
	if config.LargestBody != webhook.LargestBody {
		t.Errorf("http.max_body may be %s, the webhook endpoint accepts %d", config.LargestBody, webhook.LargestBody)
	}
}
