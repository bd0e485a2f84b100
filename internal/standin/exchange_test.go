package standin_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/standin"
)

// exchangeFile is a file of testdata/exchanges: the documented exchanges of one
// dialect, replayed in order against one stand-in.
//
// In paths, headers and bodies ${name} stands for a value saved before. Wanted
// bodies must match exactly, but for strings such as "<hex32>", which stand for
// any value of that form and JSON type.
type exchangeFile struct {
	Options struct {
		Dialect        standin.Dialect         `json:"dialect"`
		Paging         standin.Paging          `json:"paging"`
		ExpiredAnswer  standin.ExpiredAnswer   `json:"expired_answer"`
		EnvelopeErrors bool                    `json:"envelope_errors"`
		Release        standin.ReleaseSettings `json:"release"`
		GitUser        string                  `json:"git_user"`
		GitToken       string                  `json:"git_token"`
	} `json:"options"`
	Exchanges []exchange `json:"exchanges"`
}

type exchange struct {
	Note    string            `json:"note"`
	Send    string            `json:"send"`
	Headers map[string]string `json:"headers"`
	NoToken bool              `json:"no_token"`
	Body    json.RawMessage   `json:"body"`
	Status  int               `json:"status"`
	// Want is the wanted body; absent: an empty one.
	Want json.RawMessage `json:"want"`
	// Until repeats the request until the wanted answer comes.
	Until bool `json:"until"`
	// Save stores a field of the answer, or "header:Name", under a name.
	Save map[string]string `json:"save"`
}

func TestExchanges(t *testing.T) {
	files, err := filepath.Glob("testdata/exchanges/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no exchanges: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var script exchangeFile
			decoder := json.NewDecoder(strings.NewReader(string(readFile(t, "exchanges/"+filepath.Base(file)))))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&script); err != nil {
				t.Fatal(err)
			}
			opts := sample(t)
			opts.Dialect, opts.Paging, opts.ExpiredAnswer = script.Options.Dialect, script.Options.Paging, script.Options.ExpiredAnswer
			opts.EnvelopeErrors = script.Options.EnvelopeErrors
			opts.RepositoryUser, opts.RepositoryToken = script.Options.GitUser, script.Options.GitToken
			delays := opts.Release
			opts.Release = script.Options.Release
			opts.Release.StopDelay, opts.Release.RestartDelay, opts.Release.RollbackDelay = delays.StopDelay, delays.RestartDelay, delays.RollbackDelay
			zero := 0.0
			opts.Pipelines[0].Stages[0].Tasks[0].Seconds = &zero
			opts.Pipelines[0].Stages[1].Tasks[1].Seconds = &zero
			opts.CodePipelines[0].Stages[0].Jobs[0].Steps[0].Seconds = &zero
			opts.CodePipelines[0].Stages[0].Jobs[0].Steps[0].FailTimes = 1
			opts.CodePipelines[0].Stages[1].Jobs[0].Steps[1].Seconds = &zero

			c := serve(t, opts)
			saved := map[string]string{
				"token": c.token, "project": project, "region": region, "pipeline": pipeline,
				"clean": opts.Tasks[0].ID, "feature": opts.Tasks[1].ID, "user": opts.User, "password": opts.Password,
				"code_pipeline": opts.CodePipelines[0].ID, "rule_set": opts.RuleSets[0].ID,
			}
			for i, e := range script.Exchanges {
				if !e.play(t, c, saved) {
					t.Fatalf("exchange %d (%s: %s) failed", i, e.Note, e.Send)
				}
			}
		})
	}
}

// play sends one request and compares the answer.
func (e exchange) play(t *testing.T, c *client, saved map[string]string) bool {
	t.Helper()
	method, path, _ := strings.Cut(fill(e.Send, saved), " ")
	headers := map[string]string{"Content-Type": "application/json", "X-Auth-Token": saved["token"]}
	if e.NoToken {
		delete(headers, "X-Auth-Token")
	}
	for name, value := range e.Headers {
		headers[name] = fill(value, saved)
	}
	var diff string
	look := func() bool {
		res, raw := c.send(method, path, fill(string(e.Body), saved), headers)
		diff = e.compare(res, raw, saved)
		if diff == "" {
			e.keep(t, res, raw, saved)
		}
		return diff == ""
	}
	if e.Until {
		until(t, e.Note, look)
	} else {
		look()
	}
	if diff != "" {
		t.Error(diff)
	}
	return diff == ""
}

func (e exchange) compare(res *http.Response, raw []byte, saved map[string]string) string {
	if res.StatusCode != e.Status {
		return fmt.Sprintf("status %d, want %d: %s", res.StatusCode, e.Status, raw)
	}
	if len(e.Want) == 0 {
		return strings.TrimSpace(string(raw))
	}
	want, got := decode([]byte(fill(string(e.Want), saved))), decode(raw)
	return cmp.Diff(want, blank(want, got))
}

func decode(raw []byte) any {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Sprintf("not JSON: %s", raw)
	}
	return value
}

// wildcards are the forms that a wanted string may stand for. Those of numbers
// match JSON numbers only, the others JSON strings only.
var wildcards = map[string]*regexp.Regexp{
	"<hex32>":     regexp.MustCompile(`^[0-9a-f]{32}$`),
	"<text>":      regexp.MustCompile(`(?s)^.+$`),
	"<time>":      regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`),
	"<plaintime>": regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`),
	"<iamtime>":   regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`),
	"<percent>":   regexp.MustCompile(`^\d+%$`),
	"<digits>":    regexp.MustCompile(`^\d+$`),
	"<int>":       regexp.MustCompile(`^\d+$`),
	"<ms>":        regexp.MustCompile(`^\d{13}$`),
	"<number>":    regexp.MustCompile(`^\d+(\.\d+)?$`),
}

// blank returns got with every value that a wildcard of want allows replaced by
// that wildcard.
func blank(want, got any) any {
	switch want := want.(type) {
	case string:
		form, ok := wildcards[want]
		if !ok {
			return got
		}
		isNumber := want == "<int>" || want == "<ms>" || want == "<number>"
		number, gotNumber := got.(json.Number)
		text, gotText := got.(string)
		if isNumber && gotNumber && form.MatchString(number.String()) || !isNumber && gotText && form.MatchString(text) {
			return want
		}
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			result := maps.Clone(got)
			for key, value := range want {
				if inner, ok := got[key]; ok {
					result[key] = blank(value, inner)
				}
			}
			return result
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(want) {
			result := make([]any, len(got))
			for i := range got {
				result[i] = blank(want[i], got[i])
			}
			return result
		}
	}
	return got
}

// keep saves what the exchange wants saved.
func (e exchange) keep(t *testing.T, res *http.Response, raw []byte, saved map[string]string) {
	t.Helper()
	for name, from := range e.Save {
		if header, ok := strings.CutPrefix(from, "header:"); ok {
			saved[name] = res.Header.Get(header)
			continue
		}
		value := decode(raw)
		for key := range strings.SplitSeq(from, ".") {
			switch inner := value.(type) {
			case map[string]any:
				value = inner[key]
			case []any:
				i, err := strconv.Atoi(key)
				if err != nil || i >= len(inner) {
					t.Fatalf("no %s in %s", from, raw)
				}
				value = inner[i]
			}
		}
		saved[name] = fmt.Sprint(value)
	}
}

func fill(text string, saved map[string]string) string {
	for name, value := range saved {
		text = strings.ReplaceAll(text, "${"+name+"}", value)
	}
	return text
}
