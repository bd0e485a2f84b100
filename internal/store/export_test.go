package store

import "context"

// ExecForTest runs a statement that the program itself never would.
func (tx *Tx) ExecForTest(ctx context.Context, statement string) error {
	_, err := tx.exec(ctx, statement)
	return err
}
