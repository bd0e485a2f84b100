// Package evidence makes and verifies evidence bundles: what led to a release and what came of it, in
// parts whose hashes are chained, with a signature. It touches no database and no network. The format is
// described in docs/evidence.md, so that others can verify bundles without this program.
package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Format names the format in the first line of a bundle.
const Format = "gatewright-evidence/1"

// MaxSize is the largest bundle that is made or read, in bytes.
const MaxSize = 32 << 20

// The parts, by their names.
const (
	Delivery  = "delivery"
	Decision  = "decision"
	Rule      = "rule"
	Run       = "run"
	Verdict   = "verdict"
	Findings  = "findings"
	Release   = "release"
	Approvals = "approvals"
	Calls     = "calls"
	Actions   = "actions"
	Audit     = "audit"
)

// Parts lists the names of all parts, in the order in which they stand in a bundle.
func Parts() []string {
	return []string{Delivery, Decision, Rule, Run, Verdict, Findings, Release, Approvals, Calls, Actions, Audit}
}

// Head is the first line of a bundle, but for its bracket.
type Head struct {
	Format    string `json:"format"`
	ReleaseID string `json:"release_id"`
	// MadeAt is when the bundle was made, in UTC.
	MadeAt time.Time `json:"made_at"`
}

// AuditPoint is the newest row of the audit log when the bundle was made; it is in the part audit.
type AuditPoint struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// part is one line of a bundle.
type part struct {
	Name string `json:"name"`
	// Hash is the SHA-256 of Content, byte for byte; Chain that of the chain before it, the name and
	// Hash.
	Hash    string          `json:"hash"`
	Chain   string          `json:"chain"`
	Content json.RawMessage `json:"content"`
}

// seal is the last line of a bundle.
type seal struct {
	// Root is the chain of the last part.
	Root string `json:"root"`
	// PublicKey and Signature are in base64, of 32 and 64 bytes; both are empty in a bundle that is not
	// signed.
	PublicKey string `json:"public_key"`
	Signature string `json:"signature"`
}

// Make makes the bundle of a release from the content of every part, by their names. Without a key it
// is not signed.
func Make(head Head, contents map[string]any, key ed25519.PrivateKey) (bundle []byte, root string, err error) {
	head.Format, head.MadeAt = Format, head.MadeAt.UTC().Truncate(time.Microsecond)
	first, err := canonical(head)
	if err != nil {
		return nil, "", fmt.Errorf("make evidence: %w", err)
	}
	lines := []string{headLine(first)}
	chain := begin(first)
	for i, name := range Parts() {
		content, err := canonical(contents[name])
		if err != nil {
			return nil, "", fmt.Errorf("make evidence: part %q: %w", name, err)
		}
		p := part{Name: name, Hash: sum(content), Content: content}
		chain = next(chain, name, p.Hash)
		p.Chain = chain
		lines = append(lines, partLine(p, i == len(Parts())-1))
	}
	s := seal{Root: chain}
	if key != nil {
		s.PublicKey = base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
		s.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(chain)))
	}
	lines = append(lines, sealLine(s), "")
	bundle = []byte(strings.Join(lines, "\n"))
	if len(bundle) > MaxSize {
		return nil, "", fmt.Errorf("make evidence: it would have %d bytes, and at most %d are verified", len(bundle), MaxSize)
	}
	return bundle, chain, nil
}

// KeyID is a short name of a public key: the first 16 hex digits of its SHA-256.
func KeyID(key ed25519.PublicKey) string { return sum(key)[:16] }

// headLine ends with the bracket that opens the list of parts.
func headLine(head []byte) string {
	return strings.TrimSuffix(string(head), "}") + `,"parts":[`
}

func partLine(p part, last bool) string {
	line := fmt.Sprintf(`{"name":%q,"hash":%q,"chain":%q,"content":%s}`, p.Name, p.Hash, p.Chain, p.Content)
	if !last {
		line += ","
	}
	return line
}

func sealLine(s seal) string {
	return fmt.Sprintf(`],"seal":{"root":%q,"public_key":%q,"signature":%q}}`, s.Root, s.PublicKey, s.Signature)
}

// begin is the chain before the first part.
func begin(head []byte) string { return sum([]byte("gatewright evidence 1\n" + string(head) + "\n")) }

// next is the chain of a part.
func next(chain, name, hash string) string {
	return sum([]byte(chain + "\n" + name + "\n" + hash + "\n"))
}

// signed are the bytes that the signature is of.
func signed(root string) []byte { return []byte("gatewright evidence 1\n" + root + "\n") }

func sum(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// canonical is a value as JSON in one line: without white space, with the keys of every object in the
// order of their bytes, and numbers as they are written.
func canonical(v any) ([]byte, error) {
	data, err := marshal(v)
	if err != nil {
		return nil, err
	}
	return sorted(data)
}

// Digest is the SHA-256 of a value in canonical JSON, in hex; empty for what is no JSON.
func Digest(v any) string {
	data, err := canonical(v)
	if err != nil {
		return ""
	}
	return sum(data)
}

// sorted is JSON with its keys sorted.
func sorted(data []byte) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	return marshal(tree)
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
