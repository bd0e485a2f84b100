package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one instruction of a Dockerfile with its continuation lines joined.
type instruction struct{ name, rest string }

// instructions reads a Dockerfile. It knows comments and continuation lines, and no
// heredoc.
func instructions(t *testing.T, file string) []instruction {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []instruction
	var line strings.Builder
	for text := range strings.Lines(string(data)) {
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		text, goesOn := strings.CutSuffix(text, `\`)
		line.WriteString(text + " ")
		if goesOn {
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSpace(line.String()), " ")
		list = append(list, instruction{strings.ToUpper(name), strings.TrimSpace(rest)})
		line.Reset()
	}
	return list
}

// lastStage returns what follows the last FROM, that line included.
func lastStage(list []instruction) []instruction {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].name == "FROM" {
			return list[i:]
		}
	}
	return nil
}

func find(list []instruction, name string) []string {
	var found []string
	for _, i := range list {
		if i.name == name {
			found = append(found, i.rest)
		}
	}
	return found
}

func TestDockerfile(t *testing.T) {
	all := instructions(t, "../Dockerfile")
	final := lastStage(all)
	if len(final) == 0 || final[0].rest != "scratch" {
		t.Fatalf("the last stage is %v, want FROM scratch", final)
	}
	if runs := find(final, "RUN"); len(runs) > 0 {
		t.Errorf("the last stage has no shell to run %q", runs)
	}
	users := find(final, "USER")
	if len(users) != 1 || !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(users[0]) {
		t.Errorf("USER is %q, want one number that is not root's", users)
	}
	for name, want := range map[string]string{
		"ENTRYPOINT": `["/gatewright"]`,
		"CMD":        `["serve", "--config", "/etc/gatewright/gatewright.yaml"]`,
		"EXPOSE":     "8080 8081",
		"VOLUME":     "/var/lib/gatewright",
		"WORKDIR":    "/var/lib/gatewright",
	} {
		if got := find(final, name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	for _, copied := range find(final, "COPY") {
		if !strings.HasPrefix(copied, "--from=build ") {
			t.Errorf("COPY %s brings something that the build stage did not make", copied)
		}
	}

	build := strings.Join(find(all, "RUN"), "\n")
	for _, want := range []string{
		"CGO_ENABLED=0", "-trimpath", `-ldflags "-s -w -X main.version=${VERSION}"`, "./cmd/server",
		"ca-certificates.crt", "/etc/passwd",
	} {
		if !strings.Contains(build, want) {
			t.Errorf("the build stage lacks %s", want)
		}
	}
	for _, unwanted := range []string{"./cmd/demo", "./cmd/...", "gatewright-demo"} {
		if strings.Contains(build, unwanted) {
			t.Errorf("the build stage has %s: the image holds the service alone", unwanted)
		}
	}
	if user := strings.Split(users[0], ":")[0]; !strings.Contains(build, ":x:"+user+":") {
		t.Errorf("/etc/passwd has no user %s", user)
	}
	if !slices.Contains(find(all, "ARG"), "GO_VERSION="+goVersion(t)) {
		t.Errorf("ARG GO_VERSION is not go.mod's %s", goVersion(t))
	}
}

// goVersion is the major and minor version that go.mod asks for.
func goVersion(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindSubmatch(data)
	if found == nil {
		t.Fatal("go.mod names no version of Go")
	}
	return string(found[1])
}

// The builder gets what it compiles, and nothing is sent that is not named.
func TestDockerignore(t *testing.T) {
	data, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(string(data), ""))
	if lines[0] != "*" {
		t.Errorf("the first line is %q, want * so that only what is named is sent", lines[0])
	}
	for _, want := range []string{"!go.mod", "!go.sum", "!cmd", "!internal"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%s is missing, so nothing could be built", want)
		}
	}
}
