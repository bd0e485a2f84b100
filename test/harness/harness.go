// Package harness is what the proofs share: it runs the real server, as one process
// or as several replicas, on a real database, with the stand-in of Huawei Cloud in
// the proof's own process, so that the stand-in's journal survives whatever happens
// to the servers; and it sends signed deliveries as the git hosts do, and records how
// each was answered.
package harness

import (
	"bytes"
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
	// Binary is the path of the gatewright program; see Program.
	Binary string
	// Replicas is how many servers can share the database, each at an address of its
	// own; default 1. A SQLite file takes one.
	Replicas int
	// Repositories is how many repositories each connection has; default 8. Each
	// has a pipeline of its own.
	Repositories int
	// ScanDelay is the least time that an execution takes; default 30 ms.
	ScanDelay time.Duration
	// AnswerDelay is how long the stand-in keeps the answer to a pipeline's start or
	// decision after it did it; default 0. A kill in that time loses the answer.
	AnswerDelay time.Duration
	// Seed makes what is sent, and when, repeatable; the answers are not.
	Seed uint64
	// Rules replaces the rules file; default: one that checks and releases what
	// Load sends.
	Rules string
	// LogLevel is the server's; default warn.
	LogLevel string
	// Retention is the server's store.retention; default its own.
	Retention time.Duration
	// Remote answers the servers' calls in place of the stand-in, which then learns
	// nothing of them; default none.
	Remote http.Handler
	// Reports lets the servers report to a git host, for the connections to GitHub; see
	// Bench.GitHost. Default: they have no API token, and report nothing.
	Reports bool
	// Profiles is a loopback address on which the first server serves its profiles;
	// default none.
	Profiles string
}

// Bench is one database, one stand-in, and the files of the servers. The servers
// themselves are started and killed by the proof.
type Bench struct {
	Database *Database
	Journal  *Journal
	Load     *Load
	// GitHost is what the reports are made to; nil without Options.Reports.
	GitHost *GitHost

	opts    Options
	folder  string
	secrets map[string]string
	world   world
	standin *standin.Server
	remote  *http.Server
	person  *person
	// addrs, privateAddrs and servers are those of the replicas; a server is nil before
	// its start.
	addrs        []string
	privateAddrs []string
	servers      []*Server
}

// New makes a bench in a temporary folder. Close must be called in the end.
func New(ctx context.Context, opts Options) (b *Bench, err error) {
	if opts.Binary == "" {
		return nil, errors.New("make bench: the program's path is missing")
	}
	if opts.Replicas == 0 {
		opts.Replicas = 1
	}
	if opts.Database == SQLite && opts.Replicas > 1 {
		return nil, errors.New("make bench: a SQLite file takes one server")
	}
	if opts.Repositories == 0 {
		opts.Repositories = 8
	}
	if opts.ScanDelay == 0 {
		opts.ScanDelay = 30 * time.Millisecond
	}
	if opts.LogLevel == "" {
		opts.LogLevel = "warn"
	}
	b = &Bench{opts: opts, secrets: map[string]string{}, servers: make([]*Server, opts.Replicas)}
	if b.folder, err = os.MkdirTemp("", "gatewright-proof-"); err != nil {
		return nil, fmt.Errorf("make bench: %w", err)
	}
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make bench: %w", err), b.Close())
	}
	return b, nil
}

func (b *Bench) open(ctx context.Context) (err error) {
	names := []string{variableKey, variableSecretKey, variableToken}
	for _, c := range connections() {
		names = append(names, c.variable())
	}
	for _, name := range names {
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
	if b.opts.Reports {
		if b.GitHost, err = startGitHost(b.opts.AnswerDelay / 5); err != nil {
			return err
		}
	}
	endpoint, err := b.startStandin()
	if err != nil {
		return err
	}
	if b.person, err = newPerson(endpoint, b.secrets[variableKey], b.secrets[variableSecretKey]); err != nil {
		return err
	}
	b.Journal = &Journal{endpoint: endpoint}
	addrs, err := FreeAddrs(2 * b.opts.Replicas)
	if err != nil {
		return err
	}
	b.addrs, b.privateAddrs = addrs[:b.opts.Replicas], addrs[b.opts.Replicas:]
	if err := b.writeFiles(endpoint); err != nil {
		return err
	}
	b.Load = newLoad(b.world, b.addrs, b.secrets, b.opts.Seed)
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
	handler := b.opts.Remote
	if handler == nil {
		handler = answerLate(b.standin.Handler(), b.opts.AnswerDelay)
	}
	b.remote = &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = b.remote.Serve(l) }()
	return "http://" + l.Addr().String(), nil
}

// answerLate keeps the answers to what is done to pipelines for a time, while the
// caller waits.
func answerLate(next http.Handler, delay time.Duration) http.Handler {
	if delay <= 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/action") {
			w = lateWriter{w, func() { wait(r.Context(), delay) }}
		}
		next.ServeHTTP(w, r)
	})
}

// lateWriter waits before it tells the status.
type lateWriter struct {
	http.ResponseWriter
	wait func()
}

func (w lateWriter) WriteHeader(status int) {
	w.wait()
	w.ResponseWriter.WriteHeader(status)
}

// wait returns after d, or when ctx is done.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// writeFiles writes the rules, and the server file of each replica.
func (b *Bench) writeFiles(endpoint string) error {
	section, variable, value := b.Database.config()
	if variable != "" {
		b.secrets[variable] = value
	}
	rules := b.opts.Rules
	if rules == "" {
		rules = rulesFile(b.world)
	}
	files := map[string]string{b.RulesFile(): rules}
	for i, addr := range b.addrs {
		opts := b.opts
		if i > 0 {
			opts.Profiles = ""
		}
		files[b.serverFile(i)] = serverFile(addr, b.privateAddrs[i], section, endpoint, opts, b.GitHost)
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// serverFile is the path of a replica's server file.
func (b *Bench) serverFile(replica int) string {
	return filepath.Join(b.folder, fmt.Sprintf("gatewright-%d.yaml", replica))
}

// Retain changes how long what has ended is kept, for servers that start from now on.
func (b *Bench) Retain(d time.Duration) error {
	b.opts.Retention = d
	return b.writeFiles(b.Journal.endpoint)
}

// Addrs is where the servers take webhooks.
func (b *Bench) Addrs() []string { return b.addrs }

// Repository is a repository of the bench's world.
type Repository struct {
	// Connection is the name of its connection, ID the host's number of it.
	Connection string
	ID         int
	// FullName is its path on the host, URL its clone address.
	FullName, URL string
	// Pipeline is what releases its branch main when its check has passed.
	Pipeline string
}

// Repositories are those of a connection.
func (b *Bench) Repositories(connection string) []Repository {
	var list []Repository
	for _, r := range b.world.repositories {
		if r.connection.name == connection {
			list = append(list, Repository{connection, r.id, r.fullName(), r.url(), r.pipeline})
		}
	}
	return list
}

// Call runs a command of the program on the first server's file, as an operator would,
// and returns what it prints.
func (b *Bench) Call(ctx context.Context, args ...string) (stdout, stderr []byte, err error) {
	command := exec.CommandContext(ctx, b.opts.Binary, append(args, "--config", b.serverFile(0))...)
	command.Env = b.environment()
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	err = command.Run()
	return out.Bytes(), complaints.Bytes(), err
}

// environment is what the program finds its secrets in.
func (b *Bench) environment() []string {
	environment := os.Environ()
	for name, value := range b.secrets {
		environment = append(environment, name+"="+value)
	}
	return environment
}

// RulesFile is the path of the rules that the servers read.
func (b *Bench) RulesFile() string { return filepath.Join(b.folder, "rules.yaml") }

// PrivateAddrs is where the servers show their metrics.
func (b *Bench) PrivateAddrs() []string { return b.privateAddrs }

// WebhookSecret is the secret of the first connection, github.
func (b *Bench) WebhookSecret() string { return b.secrets[connections()[0].variable()] }

// SecretOf is the webhook secret of a connection.
func (b *Bench) SecretOf(name string) string {
	for _, c := range connections() {
		if c.name == name {
			return b.secrets[c.variable()]
		}
	}
	return ""
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

// LogLines is how many lines the server's processes have logged.
func (b *Bench) LogLines() (int, error) {
	text, err := os.ReadFile(b.logPath())
	return bytes.Count(text, []byte("\n")), err
}

func (b *Bench) logPath() string { return filepath.Join(b.folder, "server.log") }

// Close kills the servers that run, stops all else, and deletes the folder.
func (b *Bench) Close() error {
	var errs []error
	for _, server := range b.servers {
		if server != nil {
			errs = append(errs, server.Kill())
		}
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
	if b.GitHost != nil {
		errs = append(errs, b.GitHost.close())
	}
	if b.standin != nil {
		b.standin.Close()
	}
	if b.Database != nil {
		errs = append(errs, b.Database.close())
	}
	return errors.Join(append(errs, os.RemoveAll(b.folder))...)
}

// FreeAddrs finds loopback addresses with ports below the ephemeral ones, so that
// no client takes a port while its server is down.
func FreeAddrs(number int) (addrs []string, err error) {
	random := make([]byte, 2)
	for range 100 * number {
		_, _ = rand.Read(random)
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+(int(random[0])<<8|int(random[1]))%10000)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		// It is kept until all are found, so that none is found twice.
		defer l.Close()
		if addrs = append(addrs, addr); len(addrs) == number {
			return addrs, nil
		}
	}
	return nil, errors.New("no free port for the server")
}
