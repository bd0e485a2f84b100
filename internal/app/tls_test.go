package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestTLS: both addresses speak TLS 1.2 or newer with the configured certificate, and
// with the new one when the files have changed; files that cannot be used leave the
// last good one in service.
func TestTLS(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	writeCertificate(t, cert, key, 1)
	files := `{cert: "` + cert + `", key: "` + key + `"}`
	d := apptest.Start(t, storetest.Database{Name: "sqlite"}, demo.Options{HTTP: "tls: " + files + ", private_tls: " + files})

	handshake := func(base string, most uint16) (serial int64, err error) {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: most}}
		conn, err := dialer.DialContext(context.Background(), "tcp", u.Host)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	for _, base := range []string{d.Base(), d.Private()} {
		if serial, err := handshake(base, tls.VersionTLS13); err != nil || serial != 1 {
			t.Errorf("%s: certificate %d, error %v", base, serial, err)
		}
		if _, err := handshake(base, tls.VersionTLS11); err == nil {
			t.Errorf("%s speaks TLS 1.1", base)
		}
		if apptest.Answers("http" + base[len("http"):] + "/healthz") {
			t.Errorf("%s speaks plain HTTP too", base)
		}
	}
	writeCertificate(t, cert, key, 2)
	if serial, err := handshake(d.Base(), 0); err != nil || serial != 2 {
		t.Errorf("after a change: certificate %d, error %v", serial, err)
	}
	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if serial, err := handshake(d.Base(), 0); err != nil || serial != 2 {
		t.Errorf("with a broken file: certificate %d, error %v", serial, err)
	}
	writeCertificate(t, cert, key, 3)
	if serial, err := handshake(d.Base(), 0); err != nil || serial != 3 {
		t.Errorf("after it was mended: certificate %d, error %v", serial, err)
	}
}

// writeCertificate writes a self-signed certificate, and its key.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}}}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
