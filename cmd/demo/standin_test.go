package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/standin"
)

// startStandin runs the stand-in with further arguments until the test ends; it returns its
// endpoint and what it printed.
func startStandin(t *testing.T, arguments ...string) (endpoint, printed string) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	stdout, stderr := &apptest.Output{}, &apptest.Output{}
	env := command.Environment{Stdout: stdout, Stderr: stderr}
	ended := make(chan int, 1)
	go func() {
		ended <- command.Run(ctx, newRoot(env), append([]string{"standin", "--addr", "127.0.0.1:0"}, arguments...), env)
	}()
	t.Cleanup(func() {
		interrupt()
		if code := <-ended; code != command.OK {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	})
	apptest.WaitFor(t, "the stand-in has started", func() bool {
		return strings.Contains(stderr.String(), "stand-in started") || strings.Contains(stderr.String(), "rror")
	})
	if stdout.String() == "" {
		t.Fatalf("it did not start: %s", stderr)
	}
	return strings.Fields(stdout.String())[1], stdout.String()
}

// read returns the body of a GET.
func read(t *testing.T, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %d %s %v", url, res.StatusCode, body, err)
	}
	return body
}

// TestStandinSwitches gives every switch on the command line a value that is not its default.
func TestStandinSwitches(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	var arguments []string
	for _, s := range standin.Switches() {
		value := "1h1s"
		switch {
		case s.IsBool():
			want[s.Name] = "true"
			arguments = append(arguments, "--"+s.Flag())
			continue
		case s.Name == "token_length":
			value = "100"
		case len(s.Values) > 0:
			value = s.Values[len(s.Values)-1]
		}
		want[s.Name] = strings.Replace(value, "1h1s", "1h0m1s", 1)
		arguments = append(arguments, "--"+s.Flag(), value)
	}
	endpoint, _ := startStandin(t, arguments...)
	var got []standin.Switch
	if err := json.Unmarshal(read(t, endpoint+"/standin/switches"), &got); err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		if s.Value != want[s.Name] || s.Value == s.Default || s.Meaning == "" || s.Document == "" {
			t.Errorf("%s is %q by default %q, want %q", s.Name, s.Value, s.Default, want[s.Name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d switches, want %d", len(got), len(want))
	}
}

func TestStandinRefusesSwitches(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--paging=sideways": `--paging "sideways": write page, page_from_one or record`, "--scan-delay=-1s": "write a time from 0 on",
		"--token-length=1": "from 36 to 100000", "--repository=shop": "write acme/shop=PATH", "--repository=acme/shop=": "write acme/shop=PATH",
		"--git-user=ci": "give --git-user and --git-token together",
	} {
		var stderr bytes.Buffer
		env := command.Environment{Stdout: io.Discard, Stderr: &stderr}
		if code := command.Run(t.Context(), newRoot(env), []string{"standin", "--addr", "127.0.0.1:0", flag}, env); code != command.Usage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %s", flag, code, &stderr)
		}
	}
}

// TestStandinRepositories checks a repository of one's own, over the command line.
func TestStandinRepositories(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	shop := filepath.Join(folder, "shop")
	made, err := standin.MakeRepository(shop, standin.RepositorySpec{Name: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	for argument, want := range map[string]string{
		"acme/shop=" + folder: "repository does not exist", "acme/shop=" + filepath.Join(folder, "none"): "repository does not exist",
	} {
		var stderr bytes.Buffer
		env := command.Environment{Stdout: io.Discard, Stderr: &stderr}
		if code := command.Run(t.Context(), newRoot(env), []string{"standin", "--addr", "127.0.0.1:0", "--repository", argument}, env); code != command.No || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %s", argument, code, &stderr)
		}
	}
	faults := filepath.Join(folder, "faults.json")
	if err := os.WriteFile(faults, []byte(`{"faults":[{"kind":"busy","operations":["run_task"],"next":1}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	endpoint, printed := startStandin(t, "--repository", "acme/shop="+shop, "--repository", "https://github.com/acme/api.git="+shop, "--scan-delay", "0s",
		"--faults", faults, "--code-pipelines", "../../configs/standin/code-pipelines.yaml", "--pipelines", "../../configs/standin/pipelines.yaml")
	for _, want := range []string{"https://git.example.com/acme/shop.git", "https://github.com/acme/api.git", "reviews: Deploy/Rollout/Confirm"} {
		if !strings.Contains(printed, want) {
			t.Errorf("no %s in\n%s", want, printed)
		}
	}
	if strings.Contains(printed, "depot") {
		t.Errorf("the repositories that it starts with are still there:\n%s", printed)
	}
	if set := string(read(t, endpoint+"/standin/faults")); !strings.Contains(set, "busy") {
		t.Errorf("faults: %s", set)
	}
	// The git hosts' APIs answer for a full name on any host.
	req, err := http.NewRequest(http.MethodGet, endpoint+"/api/v4/projects/acme%2Fshop/repository/branches/main", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("PRIVATE-TOKEN", "standin-api-token")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); !strings.Contains(string(body), made.CleanSHA) {
		t.Errorf("the tip of main: %s", body)
	}
	if n := strings.Count(printed, "\ntask "); n != 2 {
		t.Errorf("%d tasks in\n%s", n, fmt.Sprint(printed))
	}
}
