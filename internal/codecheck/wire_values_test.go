package codecheck

import (
	"encoding/json"
	"testing"
)

func TestLooseNumbers(t *testing.T) {
	for in, want := range map[string]number{
		`null`: {}, `""`: {}, `" "`: {}, `0`: {0, true}, `"0"`: {0, true}, `"12"`: {12, true}, `3.0`: {3, true}, `-1`: {-1, true},
	} {
		var got number
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{`"abc"`, `1.5`, `true`, `{}`, `[1]`, `1e40`, `"NaN"`, `"Inf"`} {
		var got number
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s was read as %+v", in, got)
		}
	}
}

// Whatever a service sends where a number is expected, reading it does not
// panic, and what is read is never more than what was sent.
func FuzzLooseValues(f *testing.F) {
	for _, seed := range []string{`{"task_status":2}`, `{"task_status":null}`, `{"task_status":"0","n":{}}`, `{"task_status":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var answer struct {
			Status number `json:"task_status"`
			Text   text   `json:"n"`
		}
		if err := json.Unmarshal(b, &answer); err == nil && !answer.Status.set && answer.Status.n != 0 {
			t.Errorf("%s: a value without being set", b)
		}
	})
}
