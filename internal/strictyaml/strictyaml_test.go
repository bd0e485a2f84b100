package strictyaml_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/strictyaml"
	"github.com/google/go-cmp/cmp"
)

// sample has a field of every supported sort.
type sample struct {
	Name    string        `yaml:"name,omitempty"`
	On      bool          `yaml:"on,omitempty"`
	Count   int           `yaml:"count,omitempty"`
	Small   int8          `yaml:"small,omitempty"`
	Size    uint16        `yaml:"size,omitempty"`
	Ratio   float64       `yaml:"ratio,omitempty"`
	Timeout time.Duration `yaml:"timeout,omitempty"`
	Globs   []string      `yaml:"globs,omitempty"`
	Numbers []int         `yaml:"numbers,omitempty"`
	Limit   *int          `yaml:"limit,omitempty"`
	Parts   []part        `yaml:"parts,omitempty"`
	Extra   *part         `yaml:"extra,omitempty"`
	Either  *either       `yaml:"either,omitempty"`
	Ghost   string        `yaml:"ghost,omitempty" hidden:"true"`
	Owner   string        `yaml:"owner,omitempty"`
	Code    string        `yaml:"-"`
}

type part struct {
	Title string        `yaml:"title,omitempty"`
	Grace time.Duration `yaml:"grace,omitempty"`
	Sub   []part        `yaml:"sub,omitempty"`
}

// either is the word none or a part.
type either struct {
	None bool
	Part part
}

func (e *either) UnmarshalYAMLNode(node strictyaml.Node) error {
	switch {
	case node.Kind() == strictyaml.Map:
		return node.Decode(&e.Part)
	case node.Scalar() == "none":
		e.None = true
		return nil
	case node.Scalar() == "plain":
		return errors.New("is too plain")
	}
	return node.Complain("is neither none nor a part", `write none or {title: "…"}`)
}

func (e either) MarshalYAML() (any, error) {
	if e.None {
		return "none", nil
	}
	return e.Part, nil
}

// TestDecode reads each testdata/*.yaml and compares it as YAML, as JSON,
// and its complaints with the golden file of that name.
func TestDecode(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("glob testdata: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got sample
			_, complaints := strictyaml.Decode(filepath.Base(file), data, &got)
			encoded, err := strictyaml.Encode(got)
			if err != nil {
				t.Fatal(err)
			}
			asJSON, err := strictyaml.JSON(got)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			fmt.Fprintf(&out, "%s---\n%s\n---\n", encoded, asJSON)
			for _, c := range complaints {
				fmt.Fprintf(&out, "%d: %s\n", c.Column, c)
			}
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".golden", out.String())
			if len(complaints) == 0 {
				for _, text := range [][]byte{encoded, asJSON} {
					var again sample
					if _, complaints := strictyaml.Decode("encoded", text, &again); len(complaints) > 0 {
						t.Errorf("decode what was encoded: %v", complaints)
					}
					if diff := cmp.Diff(got, again); diff != "" {
						t.Errorf("encode and decode again (-first +again):\n%s", diff)
					}
				}
			}
		})
	}
}

func TestAt(t *testing.T) {
	const text = `name: a
parts:
  - title: x
    sub: [{title: y}, {}]
`
	var s sample
	doc, complaints := strictyaml.Decode("f.yaml", []byte(text), &s)
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	for _, tt := range []struct {
		path         string
		line, column int
	}{
		{"", 1, 1},
		{"name", 1, 7},
		{"parts", 2, 1},
		{"parts[0]", 3, 5},
		{"parts[0].title", 3, 12},
		{"parts[0].sub", 4, 5},
		{"parts[0].sub[0].title", 4, 19},
		{"parts[0].sub[1].title", 4, 23}, // not there: the entry
		{"parts[0].grace", 3, 5},         // not there: the entry
		{"parts[7].title", 2, 1},         // not there: the list
		{"owner", 1, 1},                  // not there: the document
	} {
		line, column := doc.At(tt.path)
		if line != tt.line || column != tt.column {
			t.Errorf("At(%q) = %d, %d; want %d, %d", tt.path, line, column, tt.line, tt.column)
		}
	}
	got := doc.Complain("parts[0].grace", "is missing", "write grace: 5m").String()
	if want := "f.yaml:3: parts[0].grace: is missing; write grace: 5m"; got != want {
		t.Errorf("Complain = %q, want %q", got, want)
	}
}

// TestDecodeKeepsDefaults: a key that is not in the file leaves the value that
// was there.
func TestDecodeKeepsDefaults(t *testing.T) {
	s := sample{Name: "before", Count: 7, Extra: &part{Title: "kept", Grace: time.Minute}}
	if _, complaints := strictyaml.Decode("f", []byte("count: 8\nextra: {grace: 5m}\n"), &s); len(complaints) > 0 {
		t.Fatal(complaints)
	}
	want := sample{Name: "before", Count: 8, Extra: &part{Title: "kept", Grace: 5 * time.Minute}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDecodeBounds: hostile documents are refused with a complaint, and soon.
func TestDecodeBounds(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("parts:\n  - sub: &a0 [{title: x}]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&laughs, "  - sub: &a%d [{sub: *a%d}, {sub: *a%d}]\n", i, i-1, i-1)
	}
	var keys strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&keys, "key-%d: b\n", i)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"too large":       {strings.Repeat("#", 4<<20+1), "is larger than 4 MiB"},
		"brackets":        {strings.Repeat("[", 200_000), "nested more than 100 levels deep"},
		"braces":          {"a: " + strings.Repeat("{a: ", 200_000), "nested more than 100 levels deep"},
		"dashes":          {strings.Repeat("- ", 200_000), "nested more than 100 levels deep"},
		"keys":            {strings.Repeat("? ", 200_000), "nested more than 100 levels deep"},
		"tags":            {strings.Repeat("!a ", 200_000), "is not valid YAML"},
		"anchors":         {strings.Repeat("&a ", 200_000), "is not valid YAML"},
		"laughs":          {laughs.String(), "f:2: parts[0].sub: has an anchor"},
		"alias in itself": {"parts: &p\n  - sub: *p\n", "f:1: parts: has an anchor"},
		"many keys":       {keys.String(), "has more than 10000 keys"},
		"not utf-8":       {"name: a\nowner: \xff\n", "f:2: is not UTF-8 text"},
		"null byte":       {"name: a\x00\n", "is not valid YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			var s sample
			_, complaints := strictyaml.Decode("f", []byte(tt.text), &s)
			if !strings.Contains(complaints.Error(), tt.want) {
				t.Errorf("complaints = %.300q, want one with %q", complaints.Error(), tt.want)
			}
		})
	}
}

func TestComplaintsErr(t *testing.T) {
	if err := (strictyaml.Complaints{}).Err(); err != nil {
		t.Errorf("no complaints: err = %v, want nil", err)
	}
	complaints := strictyaml.Complaints{
		{File: "b", Line: 1, Problem: "third"},
		{File: "a", Line: 9, Problem: "second"},
		{File: "a", Line: 2, Path: "x.y", Problem: "first", Instead: "write z"},
	}
	const want = "a:2: x.y: first; write z\na:9: second\nb:1: third"
	if got := complaints.Err().Error(); got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		doc, complaints := strictyaml.Decode("f", data, &s)
		if doc == nil {
			t.Fatal("no document")
		}
		if line, column := doc.At("parts[3].sub[1].title"); line < 1 || column < 0 {
			t.Errorf("At = %d, %d", line, column)
		}
		for _, c := range complaints {
			if c.Problem == "" || c.File != "f" {
				t.Errorf("complaint without problem or file: %+v", c)
			}
		}
	})
}
