// Package storetest gives tests real databases: a fresh SQLite file, and a fresh
// database on a PostgreSQL server that is either named by GATEWRIGHT_TEST_POSTGRES
// or started for the test process and thrown away.
package storetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable names the environment variable that holds the connection string of a
// server to be used. Its user must be allowed to create databases.
const Variable = "GATEWRIGHT_TEST_POSTGRES"

// Database is one of the databases that a suite runs on.
type Database struct {
	// Name is sqlite or postgres.
	Name string
	// SQLite is a path, Postgres a connection string; one of them is empty.
	SQLite, Postgres string
}

// Each runs a test once on a fresh SQLite file and once on a fresh PostgreSQL
// database, in parallel with other tests, because tests wait more than they compute.
// Where no PostgreSQL is installed, and with -short, that half is skipped, with a message.
func Each(t *testing.T, test func(t *testing.T, db Database)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, Database{Name: "sqlite", SQLite: SQLite(t)})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("PostgreSQL is left out with -short")
		}
		test(t, Database{Name: "postgres", Postgres: Postgres(t)})
	})
}

// SQLite returns the path of a file that is not there yet, in a [Folder].
func SQLite(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(Folder(tb), "test.db")
}

// Folder makes a folder in memory where that has room, so that no test waits for a disk that others
// keep busy. It is removed after the test.
func Folder(tb testing.TB) string {
	tb.Helper()
	folder, err := os.MkdirTemp(memory(), "gatewright-sqlite-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			tb.Error(err)
		}
	})
	return folder
}

// Main runs the tests of a package, eight times as many at a time as there are processors, for they
// wait more than they compute, but no more than the server has connections for, and then stops the
// server that they started.
func Main(m *testing.M) int {
	// A -parallel on the command line, which is parsed later, has precedence.
	if err := flag.Set("test.parallel", strconv.Itoa(min(8*runtime.GOMAXPROCS(0), 24))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.stop != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop postgres:", err)
			return 1
		}
	}
	return code
}

// shared is the one server of a test process.
var shared struct {
	sync.Mutex
	dsn  string
	err  error
	stop func() error
}

// ErrNone says that there is no PostgreSQL on this machine.
var ErrNone = errors.New("no PostgreSQL: set " + Variable + ", or install it (Debian: postgresql)")

// Postgres makes a fresh database and returns its connection string. The database is
// dropped after the test. It skips the test where no PostgreSQL is installed.
func Postgres(tb testing.TB) string {
	tb.Helper()
	dsn, err := server()
	if errors.Is(err, ErrNone) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	name := fmt.Sprintf("gatewright_test_%d", rand.Uint64())
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Fatalf("connect to postgres: %v", err)
	}
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		if _, err := admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop database: %v", err)
		}
		if err := admin.Close(ctx); err != nil {
			tb.Errorf("disconnect from postgres: %v", err)
		}
	})
	settings := admin.Config()
	return fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s sslmode=disable",
		quote(settings.Host), settings.Port, quote(settings.User), quote(settings.Password), name)
}

func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

func server() (dsn string, err error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.dsn == "" && shared.err == nil {
		if dsn := os.Getenv(Variable); dsn != "" {
			shared.dsn = dsn
		} else {
			shared.dsn, shared.stop, shared.err = start(memory(), "fsync=off")
		}
	}
	return shared.dsn, shared.err
}

// Start starts a throw-away server on a free loopback port and returns its
// connection string and what stops it and deletes it. It runs with the server's own
// defaults, so that a commit is synced. ErrNone where none is installed.
func Start() (dsn string, stop func() error, err error) { return start("") }

func start(parent string, settings ...string) (dsn string, stop func() error, err error) {
	s, err := openServer(parent, settings...)
	if err != nil {
		return "", nil, err
	}
	return s.DSN, s.Remove, nil
}

// Server is a throw-away server that can be stopped and started again.
type Server struct {
	// DSN is its connection string.
	DSN string

	bin, folder string
	settings    []string
	port        int
	owner       *syscall.SysProcAttr
	process     *exec.Cmd // nil while it is stopped
}

// NewServer starts a server of the test's own, which is removed after the test. It skips
// the test where none is installed.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	s, err := Open()
	if errors.Is(err, ErrNone) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Remove(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Open starts a server, for a program that is not a test. Remove must be called in the
// end. ErrNone where none is installed.
func Open() (*Server, error) { return openServer("") }

// memory is a folder in a file system in memory, empty where there is none with a
// gigabyte of room: a new database for each test is several hundred new files, and no
// test of the shared server needs them after a crash.
func memory() string {
	const folder = "/dev/shm"
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil || stat.Bavail*uint64(stat.Bsize) < 1<<30 {
		return ""
	}
	return folder
}

// openServer starts a server below a folder, by default that of temporary files, with
// these settings, each as name=value.
func openServer(parent string, settings ...string) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, settings: settings}
	if s.folder, err = os.MkdirTemp(parent, "gatewright-postgres-"); err != nil {
		return nil, err
	}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.folder))
	}
	if err := s.Up(); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

func (s *Server) init() (err error) {
	if s.owner, err = ownerOf(s.folder); err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "gatewright", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	initdb.SysProcAttr, initdb.Dir = s.owner, s.folder
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	s.DSN = fmt.Sprintf("postgres://gatewright@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	return nil
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// Up starts the server, and returns when it takes connections.
func (s *Server) Up() error {
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=400"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	process := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	process.SysProcAttr, process.Dir, process.Stdout, process.Stderr = s.owner, s.folder, log, log
	if err := process.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.process = process
	if err := answers(s.DSN); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("start postgres: %w\n%s", err, text)
	}
	return nil
}

// Down stops the server; its clients' connections are closed.
func (s *Server) Down() error {
	// SIGINT is PostgreSQL's fast shutdown.
	return s.end(syscall.SIGINT)
}

// Crash ends the server as a crash of it does: nothing more is written, and the next
// Up recovers from the log. The machine goes on, so what was written and not yet
// synced is there still.
func (s *Server) Crash() error {
	// SIGQUIT is PostgreSQL's immediate shutdown.
	return s.end(syscall.SIGQUIT)
}

func (s *Server) end(signal syscall.Signal) error {
	if s.process == nil {
		return nil
	}
	err := s.process.Process.Signal(signal)
	_ = s.process.Wait()
	s.process = nil
	return err
}

// Remove stops the server and deletes it.
func (s *Server) Remove() error { return errors.Join(s.Down(), os.RemoveAll(s.folder)) }

// find returns the folder of initdb and postgres.
func find() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "postgres")); err == nil {
			return filepath.Dir(path), nil
		}
	}
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	for _, folder := range folders {
		if _, err := os.Stat(filepath.Join(folder, "initdb")); err == nil {
			return folder, nil
		}
	}
	return "", ErrNone
}

// ownerOf gives the folder to a user that is not root, because PostgreSQL refuses
// to run as root; nil when we are not root.
func ownerOf(folder string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(account.Uid)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.Atoi(account.Gid)
		if err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(folder, uid, gid)
	}
	return nil, errors.New("postgres does not run as root, and there is no user postgres or nobody")
}

// freePort finds a port below the ephemeral ones: on one of those, a client that
// reconnects while the server is down could connect to itself and keep the port.
// Source: specs/queue-and-store.md 9.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port for postgres")
}

// answers waits until the server takes connections.
func answers(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		c, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
