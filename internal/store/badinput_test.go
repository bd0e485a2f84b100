package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// childVariable makes TestOpenAsChild open a database: the path of a file, or a
// connection string.
const childVariable = "GATEWRIGHT_TEST_OPEN"

// openAsTold opens the database that childVariable names and prints what came of it: the
// body of the processes that openAsChild starts.
func openAsTold(database string) int {
	opts := store.Options{SQLite: database}
	if !filepath.IsAbs(database) {
		opts = store.Options{Postgres: database}
	}
	s, err := store.Open(context.Background(), opts)
	if err != nil {
		fmt.Println("refused:", err)
		return 0
	}
	fmt.Println("opened")
	if err := s.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// openAsChild opens a database in a process of its own and returns what it said. A
// root user becomes nobody, because root may write everything.
func openAsChild(t *testing.T, database string) string {
	t.Helper()
	// The folder of the test's binary need not be open to nobody.
	program := "/proc/self/exe"
	if _, err := os.Stat(program); err != nil {
		if program, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env, cmd.Dir = append(os.Environ(), childVariable+"="+database), "/"
	if os.Getuid() == 0 {
		uid, gid := nobody(t)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	return string(out)
}

func nobody(t *testing.T) (uid, gid int) {
	t.Helper()
	account, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err = strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if gid, err = strconv.Atoi(account.Gid); err != nil {
		t.Fatal(err)
	}
	return uid, gid
}

// filled makes a database file with some deliveries.
func filled(t *testing.T, path string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: path})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		update(t, s, func(tx *store.Tx) error {
			_, err := add(t.Context(), s, tx, delivery(fmt.Sprint(i), fmt.Sprint(i), bytes.Repeat([]byte{byte(i), 1, 2}, 500)))
			return err
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFileThatCannotBeWritten(t *testing.T) {
	for name, test := range map[string]struct {
		file, folder os.FileMode
		want         string
	}{
		"read-only file":   {0o444, 0o755, "readonly database"},
		"read-only folder": {0o644, 0o555, "gatewright.db.lock: permission denied"},
		"both writable":    {0o644, 0o755, "opened"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "gatewright.db")
			filled(t, path)
			if err := os.Remove(path + ".lock"); err != nil {
				t.Fatal(err)
			}
			if os.Getuid() == 0 {
				uid, gid := nobody(t)
				if err := errors.Join(os.Chmod(filepath.Dir(folder), 0o755), os.Chown(folder, uid, gid), os.Chown(path, uid, gid)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.Chmod(path, test.file), os.Chmod(folder, test.folder)); err != nil {
				t.Fatal(err)
			}
			said := openAsChild(t, path)
			if !strings.Contains(said, test.want) || strings.Contains(said, "opened") == strings.Contains(said, "let the user that runs gatewright write to") {
				t.Errorf("it said %q", said)
			}
			if err := os.Chmod(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, f *os.File, size int64){
		"header": func(t *testing.T, f *os.File, _ int64) {
			if _, err := f.WriteAt(make([]byte, 100), 0); err != nil {
				t.Fatal(err)
			}
		},
		"cut in half": func(t *testing.T, f *os.File, size int64) {
			if err := f.Truncate(size / 2); err != nil {
				t.Fatal(err)
			}
		},
		"all but the first page": func(t *testing.T, f *os.File, size int64) {
			if _, err := f.WriteAt(bytes.Repeat([]byte{0x5a}, int(size-4096)), 4096); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gatewright.db")
			filled(t, path)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			damage(t, f, info.Size())
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(t.Context(), store.Options{SQLite: path})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not say what to do", err)
			}
		})
	}
}

// TestDamageInTheMiddle damages pages that a start does not read: what touches them
// fails, and says so.
func TestDamageInTheMiddle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatewright.db")
	filled(t, path)
	s, err := store.Open(t.Context(), store.Options{SQLite: path})
	if err != nil {
		t.Fatal(err)
	}
	var page int64
	if err := s.SQLite().QueryRow(`SELECT rootpage FROM sqlite_master WHERE name = 'deliveries'`).Scan(&page); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0x5a}, 4096), (page-1)*4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(t.Context(), store.Options{SQLite: path}); err == nil {
		err = s.Update(t.Context(), func(tx *store.Tx) error {
			_, err := add(t.Context(), s, tx, delivery("new", "new", nil))
			return err
		})
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error %v", err)
	}
}

// TestFullDisk fills the database until there is no room, and makes room again: what
// was stored is there, what was not was refused.
func TestFullDisk(t *testing.T) {
	s := open(t, storetest.Database{SQLite: filepath.Join(t.TempDir(), "gatewright.db")})
	limit := func(pages int) {
		if _, err := s.SQLite().Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	put := func(i int) error {
		return s.Update(t.Context(), func(tx *store.Tx) error {
			body := make([]byte, 2000)
			for j := range body {
				body[j] = byte(i * j * j)
			}
			_, err := add(t.Context(), s, tx, delivery(fmt.Sprint(i), fmt.Sprint(i), body))
			return err
		})
	}
	limit(60)
	stored := 0
	var err error
	for err == nil {
		if err = put(stored); err == nil {
			stored++
		}
	}
	if stored == 0 || !strings.Contains(err.Error(), "make room on the disk") {
		t.Fatalf("after %d: %v", stored, err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the store cannot even be read: %v", err)
	}
	limit(1000)
	if err := put(stored); err != nil {
		t.Errorf("with room again: %v", err)
	}
	update(t, s, func(tx *store.Tx) error {
		list, err := tx.Deliveries(t.Context(), store.Filter{Limit: 1000})
		if len(list) != stored+1 {
			t.Errorf("%d are there, %d were stored", len(list), stored+1)
		}
		return err
	})
}

func TestSecondServerOnOneFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "gatewright.db")
	first := open(t, storetest.Database{SQLite: path})
	link := filepath.Join(folder, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		s, err := store.Open(t.Context(), store.Options{SQLite: name})
		if err == nil {
			s.Close()
			t.Fatalf("%s was opened twice", name)
		}
		if !strings.Contains(err.Error(), "another gatewright uses this file") {
			t.Errorf("error %q", err)
		}
	}
	looking, err := store.Open(t.Context(), store.Options{SQLite: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	beside, err := store.Open(t.Context(), store.Options{SQLite: link, WithoutLock: true})
	if err != nil {
		t.Fatal(err)
	}
	update(t, beside, func(tx *store.Tx) error {
		_, err := add(t.Context(), beside, tx, delivery("beside", "beside", nil))
		return err
	})
	update(t, first, func(tx *store.Tx) error { _, err := tx.Delivery(t.Context(), "beside"); return err })
	if err := errors.Join(looking.Close(), beside.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	second, err := store.Open(t.Context(), store.Options{SQLite: path})
	if err != nil {
		t.Fatalf("after the first has stopped: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// TestSchemaOfAnotherVersion: a server goes on while a newer one has migrated, and an
// older program neither starts nor writes while it runs.
func TestSchemaOfAnotherVersion(t *testing.T) { storetest.Each(t, testSchemaOfAnotherVersion) }

func testSchemaOfAnotherVersion(t *testing.T, db storetest.Database) {
	ctx := t.Context()
	absent, err := store.Open(ctx, store.Options{SQLite: db.SQLite, Postgres: db.Postgres, WithoutLock: true})
	if err == nil {
		absent.Close()
		t.Error("a database without a schema was opened beside")
	}
	running := open(t, db)
	write := func(query string) {
		t.Helper()
		var err error
		if db := running.SQLite(); db != nil {
			_, err = db.ExecContext(ctx, query)
		} else {
			_, err = running.Postgres().Exec(ctx, query)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(`INSERT INTO schema_version (version) VALUES (4711)`)
	update(t, running, func(tx *store.Tx) error {
		_, err := add(ctx, running, tx, delivery("one", "one", nil))
		return err
	})
	if version, err := running.Schema(ctx); version != 4711 || err != nil {
		t.Errorf("version %d, error %v", version, err)
	}
	beside := func(want string) {
		t.Helper()
		s, err := store.Open(ctx, store.Options{SQLite: db.SQLite, Postgres: db.Postgres, WithoutLock: true})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("opened beside: %v, want %q", err, want)
		}
	}
	beside("run a newer gatewright")
	write(`DELETE FROM schema_version`)
	beside("gatewright migrate")
}

// TestOneMigration opens a fresh PostgreSQL database many times at once, in this
// process and in others.
func TestOneMigration(t *testing.T) {
	dsn := storetest.Postgres(t)
	var wg sync.WaitGroup
	stores := make([]*store.Store, 6)
	for i := range stores {
		wg.Go(func() {
			var err error
			if stores[i], err = store.Open(context.Background(), store.Options{Postgres: dsn}); err != nil {
				t.Error(err)
			}
		})
	}
	said := make([]string, 3)
	for i := range said {
		wg.Go(func() { said[i] = openAsChild(t, dsn) })
	}
	wg.Wait()
	for _, text := range said {
		if !strings.Contains(text, "opened") {
			t.Errorf("another process said %q", text)
		}
	}
	for _, s := range stores {
		if s == nil {
			continue
		}
		var rows, newest int
		if err := s.Postgres().QueryRow(t.Context(), `SELECT COUNT(*), MAX(version) FROM schema_version`).Scan(&rows, &newest); err != nil {
			t.Error(err)
		}
		if version, err := s.Schema(t.Context()); err != nil || version != newest || rows != newest {
			t.Errorf("%d versions, the newest is %d, the schema says %d (%v)", rows, newest, version, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
