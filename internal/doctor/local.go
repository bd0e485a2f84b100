package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/store"
)

// database opens the database as the commands do beside a running server.
func (e *examination) database(ctx context.Context) {
	const subject = "database"
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if path := e.Database.SQLite; path != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			e.newDatabase(subject, path)
			return
		}
	}
	options := e.Database
	options.WithoutLock = true
	s, err := store.Open(ctx, options)
	if err != nil {
		if e.withoutSchema(ctx) {
			e.unchecked(subject, "it has no schema yet: start the server, or run gatewright migrate")
			return
		}
		e.wrong(subject, err.Error(), "correct the section store of the server file, or what it names")
		return
	}
	defer s.Close()
	if err := s.Writable(ctx); err != nil {
		e.wrong(subject, err.Error(), "let gatewright write to it: until then webhooks are answered with 503")
		return
	}
	e.ok(subject, "can be written")
	e.auditLog(ctx, s)
}

// auditLog tells the newest hash of the audit log, to be compared later.
func (e *examination) auditLog(ctx context.Context, s *store.Store) {
	const subject = "audit log"
	var head audit.Entry
	err := s.View(ctx, func(tx *store.Tx) (err error) {
		head, err = tx.AuditHead(ctx)
		return err
	})
	switch {
	case err != nil:
		e.unchecked(subject, err.Error())
	case head.Seq == 0:
		e.ok(subject, "has no row yet")
	default:
		e.ok(subject, fmt.Sprintf("its newest row is %d, with the hash %s; gatewright audit verify checks them all", head.Seq, head.Hash))
	}
}

// withoutSchema reports whether the database answers and has no schema.
func (e *examination) withoutSchema(ctx context.Context) bool {
	options := e.Database
	options.ReadOnly = true
	s, err := store.Open(ctx, options)
	if err != nil {
		return false
	}
	defer s.Close()
	_, err = s.Schema(ctx)
	return err != nil
}

// newDatabase checks that the server can make its file, by one that is removed again.
func (e *examination) newDatabase(subject, path string) {
	folder := filepath.Dir(path)
	probe, err := os.CreateTemp(folder, "gatewright-doctor-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		e.wrong(subject, fmt.Sprintf("%s is not there yet, and cannot be made: %v", path, err), "make the folder "+folder+" and let the user that runs gatewright write to it")
		return
	}
	e.ok(subject, path+" is not there yet: the server makes it")
}

// fileRights checks that nobody else reads secrets and payloads, or writes what decides.
func (e *examination) fileRights() {
	const readable, writable = 0o004, 0o002
	before := len(e.findings)
	secret := e.Config.SecretFiles()
	if path := e.Database.SQLite; path != "" {
		secret = append(secret, path, path+"-wal")
	}
	for _, path := range secret {
		e.fileRight(path, readable, "everybody on this machine can read it", "chmod o-rwx "+path+"; in Kubernetes give the volume defaultMode: 0440")
	}
	for _, path := range append(e.Files, secret...) {
		e.fileRight(path, writable, "everybody on this machine can change it", "chmod o-w "+path)
	}
	if len(e.findings) == before {
		e.ok("file rights", "only their owner and group can change the files, and read the secrets")
	}
}

func (e *examination) fileRight(path string, bit fs.FileMode, problem, advice string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The database may not be there yet; all others have been read.
	case err != nil:
		e.unchecked("file "+path, err.Error())
	case info.Mode()&bit != 0:
		e.wrong("file "+path, problem, advice)
	}
}
