// Package storetest gives tests real databases: a fresh SQLite file, and a fresh
// database on a PostgreSQL server that is either named by GATEWRIGHT_TEST_POSTGRES
// or started for the test process and thrown away.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
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
// database. Where no PostgreSQL can be had that half is skipped, saying so.
func Each(t *testing.T, test func(t *testing.T, db Database)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, Database{Name: "sqlite", SQLite: filepath.Join(t.TempDir(), "test.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, Database{Name: "postgres", Postgres: Postgres(t)})
	})
}

// Main runs the tests of a package and then stops the server that they started.
func Main(m *testing.M) int {
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

// errNone says that there is no PostgreSQL on this machine.
var errNone = errors.New("no PostgreSQL: set " + Variable + ", or install it (Debian: postgresql)")

// Postgres makes a fresh database and returns its connection string. The database
// goes with the test. It skips the test where no PostgreSQL can be had.
func Postgres(tb testing.TB) string {
	tb.Helper()
	dsn, err := server()
	if errors.Is(err, errNone) {
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
			shared.dsn, shared.stop, shared.err = Start()
		}
	}
	return shared.dsn, shared.err
}

// Start starts a throw-away server on a free loopback port and returns its
// connection string and what stops it and deletes it. It runs with the server's own
// defaults, so that a commit is synced. errNone where none is installed.
func Start() (dsn string, stop func() error, err error) {
	bin, err := find()
	if err != nil {
		return "", nil, err
	}
	folder, err := os.MkdirTemp("", "gatewright-postgres-")
	if err != nil {
		return "", nil, err
	}
	owner, err := ownerOf(folder)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(folder))
	}
	data := filepath.Join(folder, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "gatewright", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
	initdb.SysProcAttr, initdb.Dir = owner, folder
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(folder))
	}
	port, err := freePort()
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(folder))
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(folder))
	}
	defer log.Close()
	postgres := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200")
	postgres.SysProcAttr, postgres.Dir, postgres.Stdout, postgres.Stderr = owner, folder, log, log
	if err := postgres.Start(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("start postgres: %w", err), os.RemoveAll(folder))
	}
	stop = func() error {
		// SIGINT is PostgreSQL's fast shutdown: connections are closed.
		err := postgres.Process.Signal(syscall.SIGINT)
		_ = postgres.Wait()
		return errors.Join(err, os.RemoveAll(folder))
	}
	dsn = fmt.Sprintf("postgres://gatewright@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := answers(dsn); err != nil {
		text, _ := os.ReadFile(log.Name())
		return "", nil, errors.Join(fmt.Errorf("start postgres: %w\n%s", err, text), stop())
	}
	return dsn, stop, nil
}

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
	return "", errNone
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
