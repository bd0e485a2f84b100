package evidence_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/evidence"
)

// seed makes keys that are the same in every run.
func seed(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32))
}

func contents() map[string]any {
	return map[string]any{
		evidence.Delivery: map[string]any{"z": 1, "a": "<b>&\u2028安"}, evidence.Rule: map[string]any{"name": "main"}, evidence.Approvals: []any{},
		evidence.Audit: map[string]any{"seq": 7, "hash": strings.Repeat("ab", 32), "rows": []any{}},
		evidence.Calls: []map[string]any{{"n": 12345678901234567}, {"s": "line\nbreak"}},
	}
}

func bundle(t testing.TB, key ed25519.PrivateKey) []byte {
	t.Helper()
	b, _, err := evidence.Make(evidence.Head{ReleaseID: "r1", MadeAt: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)}, contents(), key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoodBundle(t *testing.T) {
	key, other := seed(1), seed(2)
	signed, plain := bundle(t, key), bundle(t, nil)
	var whole struct {
		ReleaseID string `json:"release_id"`
		Parts     []struct{ Name string }
	}
	if err := json.Unmarshal(signed, &whole); err != nil || whole.ReleaseID != "r1" || len(whole.Parts) != len(evidence.Parts()) {
		t.Fatalf("a bundle is one JSON document: %v, %+v", err, whole)
	}
	if !strings.Contains(string(signed), `"content":[{"n":12345678901234567},{"s":"line\nbreak"}]`) {
		t.Errorf("numbers and keys are not canonical:\n%s", signed)
	}
	for name, c := range map[string]struct {
		data            []byte
		key             ed25519.PublicKey
		signed, trusted bool
		problem         string
	}{
		"signed":             {signed, nil, true, false, ""},
		"signed, given key":  {signed, key.Public().(ed25519.PublicKey), true, true, ""},
		"signed, other key":  {signed, other.Public().(ed25519.PublicKey), false, false, "it is signed by the key " + evidence.KeyID(key.Public().(ed25519.PublicKey))},
		"not signed":         {plain, nil, false, false, ""},
		"not signed, a key":  {plain, key.Public().(ed25519.PublicKey), false, false, "the bundle is not signed"},
		"signature put away": {withoutSignature(signed), key.Public().(ed25519.PublicKey), false, false, "the bundle is not signed"},
	} {
		r, err := evidence.Verify(c.data, c.key)
		if err != nil || r.ReleaseID != "r1" || r.Signed != c.signed || r.Trusted != c.trusted || r.Audit.Seq != 7 {
			t.Errorf("%s: %+v, error %v", name, r, err)
		}
		if c.problem == "" && len(r.Problems) > 0 || c.problem != "" && (len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, c.problem)) {
			t.Errorf("%s: problems %+v, want %q", name, r.Problems, c.problem)
		}
	}
}

func withoutSignature(b []byte) []byte {
	text := string(b)
	i, j := strings.Index(text, `"public_key":"`), strings.LastIndex(text, `"}}`)
	return []byte(text[:i] + `"public_key":"","signature":"` + text[j:])
}

// TestEveryFlippedByte changes each byte of a bundle in several ways, and wants the line named that
// it is in: the first problem must name it.
func TestEveryFlippedByte(t *testing.T) {
	for _, good := range [][]byte{bundle(t, seed(1)), bundle(t, nil)} {
		names := append(append([]string{"head"}, evidence.Parts()...), "seal", "seal")
		line := 0
		for i := range good {
			allowed := []string{names[line]}
			if good[i] == '\n' {
				line++
				allowed = append(allowed, names[line])
			}
			for _, mask := range []byte{0x01, 0x20, 0x80} {
				changed := bytes.Clone(good)
				changed[i] ^= mask
				r, err := evidence.Verify(changed, nil)
				if err != nil {
					t.Fatalf("byte %d ^ %#x: %v", i, mask, err)
				}
				if len(r.Problems) == 0 {
					t.Fatalf("byte %d ^ %#x of %s was not noticed", i, mask, allowed)
				}
				if got := r.Problems[0].Part; !strings.Contains(strings.Join(allowed, " "), got) {
					t.Errorf("byte %d ^ %#x of %s: %+v", i, mask, allowed, r.Problems)
				}
				for _, p := range r.Problems[1:] {
					if good[i] != '\n' && p.Part != allowed[0] {
						t.Errorf("byte %d ^ %#x of %s: blames others too: %+v", i, mask, allowed, r.Problems)
					}
				}
			}
		}
	}
}

// TestTruncated cuts a bundle off after every byte.
func TestTruncated(t *testing.T) {
	good := bundle(t, seed(1))
	for n := range good {
		if r, err := evidence.Verify(good[:n], nil); err == nil && len(r.Problems) == 0 {
			t.Fatalf("the first %d of %d bytes verify", n, len(good))
		}
	}
}

func TestBadBundles(t *testing.T) {
	good := string(bundle(t, seed(1)))
	lines := strings.Split(good, "\n")
	join := func(lines ...string) string { return strings.Join(lines, "\n") }
	swapped := append([]string{}, lines...)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(good), "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ data, refused, part, says string }{
		"empty":           {" \n", "this file is empty", "", ""},
		"text":            {"hello", "no JSON either", "", ""},
		"binary":          {"\x00\xff\xfe", "no JSON either", "", ""},
		"other JSON":      {`{"format":"sarif","runs":[]}`, "this is JSON, and no evidence bundle", "", ""},
		"a list":          {`[1,2]`, "this is JSON, and no evidence bundle", "", ""},
		"newer":           {`{"format":"gatewright-evidence/2"}`, "a newer gatewright", "", ""},
		"indented":        {indented.String(), "byte for byte", "", ""},
		"huge":            {good + strings.Repeat(" ", evidence.MaxSize), "and a bundle has at most", "", ""},
		"a part missing":  {join(append(append([]string{}, lines[:3]...), lines[4:]...)...), "", "rule", `"run" stands in its place`},
		"parts swapped":   {join(swapped...), "", "decision", `"rule" stands in its place`},
		"a part twice":    {join(append(append([]string{}, lines[:3]...), lines[2:]...)...), "", "rule", `"decision" stands in its place`},
		"something after": {good + "x\n", "", "seal", "something follows it"},
		"cut off":         {join(lines[:5]...), "", "verdict", "cut off"},
		"no seal":         {join(lines[:12]...), "", "seal", "cut off"},
		"duplicate key":   {strings.Replace(good, `"content":{"name":"main"}`, `"content":{"name":"main","name":"other"}`, 1), "", "rule", `the key "name" stands in it twice`},
		"duplicate hash":  {strings.Replace(good, `{"name":"rule",`, `{"name":"rule","name":"rule",`, 1), "", "rule", `twice`},
		"a further field": {strings.Replace(good, `{"name":"rule",`, `{"more":1,"name":"rule",`, 1), "", "rule", "has not the fields"},
		"white space":     {strings.Replace(good, `"content":{"name"`, `"content": {"name"`, 1), "", "rule", "not written as it should be"},
		"deep":            {strings.Replace(good, `"content":{"name":"main"}`, `"content":`+strings.Repeat("[", 100000)+strings.Repeat("]", 100000), 1), "", "rule", "no JSON any more"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := evidence.Verify([]byte(c.data), nil)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("error %v, want %q", err, c.refused)
				}
				return
			}
			if err != nil || len(r.Problems) == 0 || r.Problems[0].Part != c.part || !strings.Contains(r.Problems[0].Text, c.says) {
				t.Errorf("%+v, error %v, want %s: %s", r.Problems, err, c.part, c.says)
			}
		})
	}
	// Whoever hashes a changed bundle again has not the key.
	forged := contents()
	forged[evidence.Rule] = map[string]any{"name": "other"}
	head := evidence.Head{ReleaseID: "r1", MadeAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	again, _, err := evidence.Make(head, forged, seed(9))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := evidence.Verify(again, seed(1).Public().(ed25519.PublicKey)); err != nil || len(r.Problems) != 1 || r.Problems[0].Part != "seal" {
		t.Errorf("%+v, error %v", r, err)
	}
	mixed := strings.Split(string(again), "\n")
	mixed[12] = lines[12]
	if r, err := evidence.Verify([]byte(join(mixed...)), nil); err != nil || len(r.Problems) != 1 || r.Problems[0].Part != "seal" {
		t.Errorf("%+v, error %v", r, err)
	}
	if _, _, err := evidence.Make(head, map[string]any{evidence.Calls: strings.Repeat("x", evidence.MaxSize)}, nil); err == nil {
		t.Error("a bundle that is too large was made")
	}
}

func TestKeys(t *testing.T) {
	private, public, err := evidence.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if key, err := evidence.PublicKey(public); err != nil || len(key) != ed25519.PublicKeySize {
		t.Errorf("key %v, error %v", key, err)
	}
	for _, bad := range []string{"", "x", string(private), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := evidence.PublicKey([]byte(bad)); err == nil || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
}

// FuzzVerify holds that nothing but the bundle itself verifies against its key.
func FuzzVerify(f *testing.F) {
	key := seed(1)
	good := bundle(f, key)
	f.Add(good)
	f.Add(bundle(f, nil))
	for _, part := range []string{"hash", "chain", "content", "\n", "],"} {
		f.Add([]byte(strings.Replace(string(good), part, part+part, 1)))
	}
	f.Add([]byte(fmt.Sprintf(`{"format":%q}`, evidence.Format)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := evidence.Verify(data, key.Public().(ed25519.PublicKey))
		if err == nil && len(r.Problems) == 0 && !bytes.Equal(data, good) {
			t.Errorf("a forgery verifies: %q", data)
		}
	})
}
