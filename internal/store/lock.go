//go:build unix

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile takes the lock of a database file: an advisory lock on a second file, because
// SQLite's own locks on the file itself are released when any descriptor of it is
// closed. It ends with the process, however that ends. The second file stays.
func lockFile(path string) (*os.File, error) {
	// One database is one lock, under whatever name it was reached.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil, fmt.Errorf("%w: let the user that runs gatewright write to the folder of the database", err)
	}
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another gatewright uses this file: stop it first, or give each its own file; several processes need PostgreSQL")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
