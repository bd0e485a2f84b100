package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Names of the lines of a bundle that are no part, in problems.
const (
	inHead = "head"
	inSeal = "seal"
)

// Problem is what is wrong in one part of a bundle, in its head, or in its seal.
type Problem struct {
	Part string `json:"part"`
	Text string `json:"problem"`
}

// Result is what came of the verification of a bundle.
type Result struct {
	ReleaseID string `json:"release_id"`
	// Root is the hash of the whole bundle.
	Root string `json:"root"`
	// Signed: there is a signature, and it is right. KeyID names the key that made it, and Trusted says
	// that it is the one that was given.
	Signed  bool   `json:"signed"`
	KeyID   string `json:"key_id,omitempty"`
	Trusted bool   `json:"trusted"`
	// Audit is the row of the audit log that the bundle names.
	Audit AuditPoint `json:"audit"`
	// Problems are what is wrong. The bundle is intact when there are none.
	Problems []Problem `json:"problems"`
}

func (r *Result) complain(part, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Part: part, Text: fmt.Sprintf(format, args...)})
}

// Verify verifies a bundle, byte by byte, without asking anybody. With a key it must be signed by
// that one. An error says that data is no bundle at all; what is wrong with a bundle is in the result.
func Verify(data []byte, key ed25519.PublicKey) (Result, error) {
	lines, err := split(data)
	if err != nil {
		return Result{}, err
	}
	r := Result{Problems: []Problem{}}
	chains := r.verifyHead(lines[0])
	for i, name := range Parts() {
		if 1+i >= len(lines) {
			r.complain(name, "it is missing: the file was cut off")
			return r, nil
		}
		var going bool
		if chains, going = r.verifyPart(lines[1+i:], i, name, chains); !going {
			return r, nil
		}
	}
	r.verifySeal(lines[1+len(Parts()):], chains, key)
	return r, nil
}

// split returns the lines of what is, or was, a bundle.
func split(data []byte) ([]string, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("this file has %d bytes, and a bundle has at most %d", len(data), MaxSize)
	}
	lines := strings.Split(string(data), "\n")
	isHead := strings.HasPrefix(lines[0], `{"format":"`+Format+`"`)
	isFirst := len(lines) > 1 && strings.HasPrefix(lines[1], `{"name":"`+Parts()[0]+`"`)
	if isHead || isFirst {
		return lines, nil
	}
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("this file is empty")
	case !json.Valid(data):
		return nil, errors.New("this is no evidence bundle of Gatewright, and no JSON either")
	}
	var other struct {
		Format string `json:"format"`
	}
	_ = json.Unmarshal(data, &other) // also a list or a text
	switch {
	case other.Format == Format:
		return nil, errors.New("this evidence bundle was written again: its lines must be as gatewright evidence get gives them, byte for byte")
	case strings.HasPrefix(other.Format, "gatewright-evidence/"):
		return nil, errors.New("this evidence bundle has a format that this program does not know: verify it with a newer gatewright")
	}
	return nil, errors.New("this is JSON, and no evidence bundle of Gatewright")
}

// verifyHead returns what the chain of the first part may follow.
func (r *Result) verifyHead(line string) []string {
	text, found := strings.CutSuffix(line, `,"parts":[`)
	var head Head
	if !found {
		r.complain(inHead, "it was changed: it does not end as it should")
	} else if problem := strict([]byte(text+"}"), &head); problem != "" {
		r.complain(inHead, "it was changed: %s", problem)
	} else if head.Format != Format {
		r.complain(inHead, "it was changed: it should say the format %s", Format)
	}
	r.ReleaseID = head.ReleaseID
	return []string{begin([]byte(text + "}"))}
}

// verifyPart verifies a part, and returns what the chain of the next one may follow: where a hash is
// wrong it is not known which one of both is, and what follows should not be blamed for it.
func (r *Result) verifyPart(lines []string, i int, name string, before []string) (after []string, going bool) {
	line, last := lines[0], i == len(Parts())-1
	var p part
	problem := ""
	text, comma := strings.CutSuffix(line, ",")
	if comma == last {
		problem = "its line does not end as it should"
	} else {
		problem = strict([]byte(text), &p)
	}
	if problem != "" {
		if other := nameOf(line); other != "" && other != name {
			r.complain(name, "it is missing, and %q stands in its place", other)
			return nil, false
		}
		r.complain(name, "it was changed: %s", problem)
		// Its chain cannot be read: that of the next part follows whatever it says itself.
		return nil, true
	}
	hash, found := sum(p.Content), len(r.Problems)
	switch {
	case p.Name != name:
		r.complain(name, "it is missing, or its name was changed: %q stands in its place", p.Name)
		return nil, false
	case p.Hash != hash:
		r.complain(name, "it was changed: its content has the hash %s, and %s is noted", hash, p.Hash)
	case before != nil && !follows(before, name, p.Hash, p.Chain):
		if i > 0 || len(lines) > 1 && strings.Contains(lines[1], `"chain":"`+next(next(before[0], name, hash), Parts()[1], hashOf(lines[1]))+`"`) {
			r.complain(name, "it was changed: its chain does not follow that of the part before")
		} else if len(r.Problems) == 0 {
			r.complain(inHead, "it was changed: the chain of %q does not follow it", name)
		}
	case partLine(p, last) != line:
		r.complain(name, "it was changed: it is not written as it should be")
	}
	after = []string{p.Chain}
	if len(r.Problems) > found {
		for _, chain := range before[:min(len(before), 3)] {
			after = append(after, next(chain, name, p.Hash), next(chain, name, hash))
		}
	}
	if name == Audit {
		_ = json.Unmarshal(p.Content, &r.Audit)
	}
	return after, true
}

// nameOf is the name in the line of a part that may be damaged; empty where it cannot be read.
func nameOf(line string) string {
	rest, found := strings.CutPrefix(line, `{"name":"`)
	name, _, ended := strings.Cut(rest, `"`)
	for _, known := range Parts() {
		if found && ended && name == known {
			return name
		}
	}
	return ""
}

// hashOf is the hash that the line of a part notes; empty where it cannot be read.
func hashOf(line string) string {
	_, rest, _ := strings.Cut(line, `"hash":"`)
	hash, _, _ := strings.Cut(rest, `"`)
	return hash
}

func follows(before []string, name, hash, chain string) bool {
	for _, b := range before {
		if next(b, name, hash) == chain {
			return true
		}
	}
	return false
}

// verifySeal verifies the last line, which an empty one follows.
func (r *Result) verifySeal(lines []string, chains []string, key ed25519.PublicKey) {
	if len(lines) == 0 {
		r.complain(inSeal, "it is missing: the file was cut off")
		return
	}
	var s seal
	text, begins := strings.CutPrefix(lines[0], `],"seal":`)
	text, ends := strings.CutSuffix(text, "}")
	problem := "it does not begin or end as it should"
	if begins && ends {
		problem = strict([]byte(text), &s)
	}
	if problem == "" && (sealLine(s) != lines[0] || len(lines) != 2 || lines[1] != "") {
		problem = "it is not written as it should be, or something follows it"
	}
	if problem != "" {
		r.complain(inSeal, "it was changed, or cut off: %s", problem)
		return
	}
	r.Root = s.Root
	known := chains == nil
	for _, chain := range chains {
		known = known || chain == s.Root
	}
	if !known {
		r.complain(inSeal, "it was changed: it is of %s, and the parts have the chain %s", s.Root, chains[0])
		return
	}
	r.verifySignature(s, key)
}

func (r *Result) verifySignature(s seal, key ed25519.PublicKey) {
	if s.Signature == "" && s.PublicKey == "" {
		if key != nil {
			r.complain(inSeal, "the bundle is not signed, so that the key proves nothing")
		}
		return
	}
	public, err := base64.StdEncoding.Strict().DecodeString(s.PublicKey)
	signature, err2 := base64.StdEncoding.Strict().DecodeString(s.Signature)
	if err != nil || err2 != nil || len(public) != ed25519.PublicKeySize || len(signature) != ed25519.SignatureSize {
		r.complain(inSeal, "it was changed: its key or its signature cannot be read")
		return
	}
	by := ed25519.PublicKey(public)
	r.KeyID = KeyID(by)
	switch {
	case !ed25519.Verify(by, signed(s.Root), signature):
		r.complain(inSeal, "the signature is wrong: the bundle was changed and hashed again, or the seal was changed")
	case key != nil && !by.Equal(key):
		r.complain(inSeal, "it is signed by the key %s, and the one that was given is %s", r.KeyID, KeyID(key))
	default:
		r.Signed, r.Trusted = true, key != nil
	}
}

// strict reads one JSON value that has the fields of v and no others, none of them twice, and nothing
// behind it. It returns what is wrong; empty for nothing.
func strict(data []byte, v any) (problem string) {
	if !utf8.Valid(data) {
		return "it is no UTF-8"
	}
	if key, err := repeated(data); err != nil {
		return "it is no JSON any more"
	} else if key != "" {
		return fmt.Sprintf("the key %.100q stands in it twice", key)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil || decoder.More() {
		return "it has not the fields that it should have"
	}
	return ""
}

// maxDepth bounds how deep objects and lists may stand in each other.
const maxDepth = 200

// repeated returns a key that an object of the JSON text has twice; empty for none.
func repeated(data []byte) (key string, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	type object struct {
		keys   map[string]bool // nil for a list
		isName bool
	}
	var open []object
	for {
		token, err := decoder.Token()
		if err != nil {
			if len(open) == 0 && decoder.InputOffset() > 0 && errors.Is(err, io.EOF) {
				return "", nil
			}
			return "", err
		}
		if len(open) > 0 && open[len(open)-1].keys != nil {
			in := &open[len(open)-1]
			if name, isText := token.(string); isText && in.isName {
				if in.keys[name] {
					return name, nil
				}
				in.keys[name], in.isName = true, false
				continue
			}
			in.isName = true
		}
		if delimiter, is := token.(json.Delim); is {
			switch delimiter {
			case '{':
				open = append(open, object{keys: map[string]bool{}, isName: true})
			case '[':
				open = append(open, object{})
			default:
				open = open[:len(open)-1]
			}
			if len(open) > maxDepth {
				return "", errors.New("it is too deep")
			}
		}
	}
}

// PublicKey reads an ed25519 public key in PEM form, as gatewright evidence keygen writes it.
func PublicKey(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("this is no public key in PEM form: it should begin with -----BEGIN PUBLIC KEY-----")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("this is no public key: %w", err)
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("this is a key of another kind than ed25519 (%T)", parsed)
	}
	return key, nil
}
