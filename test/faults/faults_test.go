package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestProof runs a short form on SQLite: the faults after which nothing has to be
// waited for long. Each must have been felt, or it proves nothing.
func TestProof(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the server")
	}
	o := options{
		databases: []string{sqlite}, only: []string{"refused", "expired-tokens"},
		seed: 1, rounds: 1, repositories: 3, on: 4 * time.Second, quiet: 4 * time.Second, settle: 5 * time.Minute,
	}
	var out strings.Builder
	held, err := run(t.Context(), o, &out)
	if err != nil || !held {
		t.Fatalf("held %v, error %v\n%s", held, err, &out)
	}
	t.Log("\n" + out.String())
	for _, name := range append(slices.Clone(o.only), "all") {
		i := strings.Index(out.String(), "sqlite "+name+" ")
		if i < 0 {
			t.Fatalf("no line for %q:\n%s", name, &out)
		}
		line, _, _ := strings.Cut(out.String()[i:], "\n")
		for _, nothing := range []string{" acknowledged 0 ", " felt 0 ", " runs releases", " releases\n"} {
			if strings.Contains(line+"\n", nothing) {
				t.Errorf("%q:%s in %q", name, nothing, line)
			}
		}
	}
}

// TestSpoil holds that a proxy goes wrong as it is told to, for each kind of fault,
// and works again afterwards.
func TestSpoil(t *testing.T) {
	upstream := echo(t)
	for _, f := range faults() {
		for place, l := range map[string]line{"huawei": f.huawei, "database": f.database} {
			if !l.closed && len(l.toxics) == 0 {
				continue
			}
			t.Run(f.name+" "+place, func(t *testing.T) {
				p, err := startProxy(f.name, upstream)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Stop()
				if err := p.spoil(l); err != nil {
					t.Fatal(err)
				}
				if err := p.mend(context.WithoutCancel(t.Context())); err != nil {
					t.Fatal(err)
				}
				if got := converse(t, p.Listen, "hello"); got != "hello" {
					t.Errorf("after it was mended the proxy passed on %q", got)
				}
			})
		}
	}
	t.Run("cut", func(t *testing.T) {
		p, err := startProxy("cut", upstream)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Stop()
		if err := p.spoil(wrong(cut(answers, 1, 3))); err != nil {
			t.Fatal(err)
		}
		if got := converse(t, p.Listen, "hello"); got != "hel" {
			t.Errorf("got %q, want the first three bytes", got)
		}
	})
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"-database", "sqlite", "-only", "429,5xx", "-rounds", "2"}, ""},
		{[]string{"-database", "oracle"}, "write sqlite, postgres or both"},
		{[]string{"-only", "flood"}, "write some of latency"},
		{[]string{"-rounds", "0"}, "above 0"},
		{[]string{"sqlite"}, "no arguments"},
		{[]string{"-no-such-flag"}, "not defined"},
	} {
		_, err := parse(c.args, io.Discard)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.args, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: error %v, want one with %q", c.args, err, c.want)
		}
	}
}

// TestFaults holds that the names are different, because lines and -only go by them.
func TestFaults(t *testing.T) {
	list := names()
	slices.Sort(list)
	if n := len(slices.Compact(slices.Clone(list))); n != len(list) {
		t.Errorf("%d faults have %d names", len(list), n)
	}
	if len(chosen(options{rounds: 1}, sqlite)) >= len(chosen(options{rounds: 1}, postgres)) {
		t.Error("postgres has no fault of its own")
	}
}
