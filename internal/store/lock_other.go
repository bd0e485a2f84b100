//go:build !unix

package store

import "os"

// lockFile opens the lock's file. There is no advisory lock here that goes with
// the process: that one server alone works on a file is the operator's care.
func lockFile(path string) (*os.File, error) {
	return os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
}
