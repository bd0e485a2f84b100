// Package harness is what the proofs share: it runs the real server as a process
// of its own on a real database, with the stand-in of Huawei Cloud in the proof's
// own process, so that the stand-in's journal survives whatever happens to the
// server; and it sends signed deliveries as the git hosts do, and records how each
// was answered.
package harness

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/standin"
)

// The databases that a proof can run on.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Options say what a bench is made of. Database and Binary are mandatory.
type Options struct {
	// Database is SQLite or Postgres.
	Database string
	// Binary is the path of the gatewright program; see Build.
	Binary string
	// Repositories is how many repositories each connection has; default 8. Each
	// has a pipeline of its own.
	Repositories int
	// ScanDelay is the least time that an execution takes; default 30 ms.
	ScanDelay time.Duration
	// Seed makes what is sent, and when, repeatable; the answers are not.
	Seed uint64
}

// Bench is one database, one stand-in, and the files of a server. The server
// itself is started and killed by the proof.
type Bench struct {
	Database *Database
	Journal  *Journal
	Load     *Load

	opts    Options
	folder  string
	addr    string
	secrets map[string]string
	world   world
	standin *standin.Server
	remote  *http.Server
	person  *person
	server  *Server
}

// New makes a bench in a temporary folder. Close must be called in the end.
func New(ctx context.Context, opts Options) (b *Bench, err error) {
	if opts.Binary == "" {
		return nil, errors.New("make bench: the program's path is missing")
	}
	if opts.Repositories == 0 {
		opts.Repositories = 8
	}
	if opts.ScanDelay == 0 {
		opts.ScanDelay = 30 * time.Millisecond
	}
	b = &Bench{opts: opts, secrets: map[string]string{}}
	if b.folder, err = os.MkdirTemp("", "gatewright-proof-"); err != nil {
		return nil, fmt.Errorf("make bench: %w", err)
	}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make bench: %w", err), b.Close())
	}
	return b, nil
}

func (b *Bench) open(ctx context.Context) (err error) {
	for _, name := range []string{variableKey, variableSecretKey, variableWebhook} {
		random := make([]byte, 16)
		// rand.Read never fails.
		_, _ = rand.Read(random)
		b.secrets[name] = hex.EncodeToString(random)
	}
	if b.Database, err = openDatabase(ctx, b.opts.Database, b.folder); err != nil {
		return err
	}
	if b.world, err = makeWorld(b.folder, b.opts.Repositories); err != nil {
		return err
	}
	endpoint, err := b.startStandin()
	if err != nil {
		return err
	}
	if b.person, err = newPerson(endpoint, b.secrets[variableKey], b.secrets[variableSecretKey]); err != nil {
		return err
	}
	b.Journal = &Journal{endpoint: endpoint}
	if b.addr, err = freeAddr(); err != nil {
		return err
	}
	if err := b.writeFiles(endpoint); err != nil {
		return err
	}
	b.Load = newLoad(b.world, "http://"+b.addr, b.secrets[variableWebhook], b.opts.Seed)
	return nil
}

// startStandin serves the stand-in on a loopback port.
func (b *Bench) startStandin() (endpoint string, err error) {
	b.standin, err = standin.New(standin.Options{
		AccessKey: b.secrets[variableKey], SecretKey: b.secrets[variableSecretKey],
		RegionProject: standin.RegionProject{ID: regionProject, Name: "cn-north-4"},
		Projects:      []standin.Project{{ID: checkProject, Name: "proof"}},
		Repositories:  b.world.local, Pipelines: b.world.pipelines,
		ScanDelay: b.opts.ScanDelay, JournalSize: journalSize,
	})
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	b.remote = &http.Server{Handler: b.standin.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = b.remote.Serve(l) }()
	return "http://" + l.Addr().String(), nil
}

// writeFiles writes the server file and the rules.
func (b *Bench) writeFiles(endpoint string) error {
	section, variable, value := b.Database.config()
	if variable != "" {
		b.secrets[variable] = value
	}
	for name, text := range map[string]string{
		"gatewright.yaml": serverFile(b.addr, section, endpoint), "rules.yaml": rulesFile(b.world),
	} {
		if err := os.WriteFile(filepath.Join(b.folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Log returns the end of what the server's processes have logged, for a proof that
// failed.
func (b *Bench) Log() string {
	text, err := os.ReadFile(b.logPath())
	if err != nil {
		return err.Error()
	}
	const end = 4000
	return string(text[max(0, len(text)-end):])
}

func (b *Bench) logPath() string { return filepath.Join(b.folder, "server.log") }

// Close kills the server if it runs, stops all else, and deletes the folder.
func (b *Bench) Close() error {
	var errs []error
	if b.server != nil {
		errs = append(errs, b.server.Kill())
	}
	if b.Load != nil {
		b.Load.CloseIdle()
	}
	if b.person != nil {
		b.person.client.CloseIdle()
	}
	if b.remote != nil {
		errs = append(errs, b.remote.Close())
	}
	if b.standin != nil {
		b.standin.Close()
	}
	if b.Database != nil {
		errs = append(errs, b.Database.close())
	}
	return errors.Join(append(errs, os.RemoveAll(b.folder))...)
}

// Build builds the gatewright program into folder and returns its path. It must be
// called with the working directory inside the module.
func Build(ctx context.Context, folder string) (path string, err error) {
	path = filepath.Join(folder, "gatewright")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/gatewright/gatewright/cmd/server").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build gatewright: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return path, nil
}

// freeAddr finds a loopback address with a port below the ephemeral ones, so that
// no client takes the port while the server is down.
func freeAddr() (string, error) {
	random := make([]byte, 2)
	for range 100 {
		_, _ = rand.Read(random)
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+(int(random[0])<<8|int(random[1]))%10000)
		l, err := net.Listen("tcp", addr)
		if err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port for the server")
}
