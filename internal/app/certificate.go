package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
)

// newTLSConfig serves a certificate from its files, and what is in them later when
// they change. It fails when they cannot be used now.
func newTLSConfig(files config.TLS, log *zap.Logger) (*tls.Config, error) {
	c := &certificate{files: files, log: log}
	var err error
	if c.stamp, err = stampOf(files); err == nil {
		c.current, err = loadCertificate(files)
	}
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// certificate is a certificate that follows its files.
type certificate struct {
	files config.TLS
	log   *zap.Logger

	mu      sync.Mutex
	current *tls.Certificate
	// stamp is that of the files when they were read last.
	stamp fileStamp
}

// fileStamp changes when one of the files does.
type fileStamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

func stampOf(files config.TLS) (fileStamp, error) {
	cert, certErr := os.Stat(files.Cert)
	key, keyErr := os.Stat(files.Key)
	if err := errors.Join(certErr, keyErr); err != nil {
		return fileStamp{}, err
	}
	return fileStamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

func loadCertificate(files config.TLS) (*tls.Certificate, error) {
	loaded, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	return &loaded, err
}

// get looks at the files with each handshake, which costs less than one signature.
// While they cannot be used (one of the two is written before the other) the last
// good certificate is served.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp, err := stampOf(c.files)
	if stamp == c.stamp {
		return c.current, nil
	}
	c.stamp = stamp
	var loaded *tls.Certificate
	if err == nil {
		loaded, err = loadCertificate(c.files)
	}
	if err != nil {
		c.log.Error("certificate not reloaded, the last good one is served", zap.String(event.LogFile, c.files.Cert), zap.Error(err))
		return c.current, nil
	}
	c.current = loaded
	c.log.Info("certificate reloaded", zap.String(event.LogFile, c.files.Cert))
	return c.current, nil
}
