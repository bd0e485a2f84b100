package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Audit is the audit log.
type Audit struct {
	// Retention is how long rows are kept. Then they are removed from the beginning of the chain, and a
	// row notes the last hash that was. Default: 0, for ever.
	Retention time.Duration `yaml:"retention,omitempty"`
}

// Evidence are the bundles that are made when releases end.
type Evidence struct {
	// Key is the private key, ed25519 in PEM form (PKCS #8), by which bundles are signed; gatewright
	// evidence keygen makes one. Default: none, and bundles are not signed.
	Key Secret `yaml:"key,omitempty"`
	// Retention is how long bundles are kept, at least as long as store.retention. Default: 43800h,
	// which is five years, or store.retention where that is longer.
	Retention time.Duration `yaml:"retention"`
}

// SigningKey is the private key of Key; nil without one.
func (e Evidence) SigningKey() ed25519.PrivateKey {
	key, _ := signingKey(e.Key.Value())
	return key
}

// signingKey reads an ed25519 private key in PEM form. Its errors show nothing of the text.
func signingKey(text string) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("it is not in PEM form: it should begin with -----BEGIN PRIVATE KEY-----")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is not a private key in the form PKCS #8")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a key of another kind than ed25519 (%T)", parsed)
	}
	return key, nil
}

func (k *checker) proof(c *Config) {
	if r := c.Audit.Retention; r != 0 && r < c.Store.Retention {
		k.complain("audit.retention", fmt.Sprintf("%s is shorter than store.retention (%s): rows would go before what they prove", r, c.Store.Retention),
			"write a longer time such as 87600h, or leave it out to keep the log for ever")
	}
	if c.Evidence.Retention == 0 {
		c.Evidence.Retention = max(5*365*24*time.Hour, c.Store.Retention)
	}
	if r := c.Evidence.Retention; r < c.Store.Retention {
		k.complain("evidence.retention", fmt.Sprintf("%s is shorter than store.retention (%s): evidence is kept longer than the records", r, c.Store.Retention),
			"write a longer time such as 43800h, or leave it out")
	}
	k.secret("evidence.key", &c.Evidence.Key)
	if c.Evidence.Key.Value() == "" {
		return
	}
	if _, err := signingKey(c.Evidence.Key.Value()); err != nil {
		k.complain("evidence.key", "this key cannot sign evidence: "+err.Error(), "make one by gatewright evidence keygen FILE, and name that file: {file: FILE}")
	}
}
