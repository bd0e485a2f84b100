//go:build !unix

package store

import "os"

// lockBeside opens the lock's file. There is no advisory lock here that goes with
// the process: that one server alone works on a file is the operator's care.
func lockBeside(path string) (*os.File, error) {
	return os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
}
