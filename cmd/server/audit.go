package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

func newAudit(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show and verify the audit log",
		Long: `The audit log says who did what when and why: actions, releases, and changes of the
configuration. Its rows are chained by their hashes; docs/audit.md describes them.`,
		RunE: func(*cobra.Command, []string) error {
			return command.UsageError{Err: errors.New("say what to do with the audit log: audit list or audit verify")}
		},
	}
	cmd.AddCommand(newAuditList(env), newAuditVerify(env))
	return cmd
}

func newAuditList(env command.Environment) *cobra.Command {
	var database databaseFlags
	var filter store.AuditFilter
	var kind string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List rows of the audit log, the newest first",
		Example: `  gatewright audit list
  gatewright audit list --record 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69
  gatewright audit list --kind action --actor ann --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter.Kind = audit.Kind(kind)
			if kind != "" && !slices.Contains(audit.Kinds(), filter.Kind) {
				return command.UsageError{Err: fmt.Errorf("--kind %q: write one of %s", kind, strings.Join(texts(audit.Kinds()), ", "))}
			}
			if filter.Limit < 1 || filter.Before < 0 {
				return command.UsageError{Err: errors.New("--limit and --before: write a number of 1 or more")}
			}
			s, err := database.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer s.Close()
			var rows []audit.Entry
			if err := s.View(cmd.Context(), func(tx *store.Tx) (err error) {
				rows, err = tx.AuditRows(cmd.Context(), filter)
				return err
			}); err != nil {
				return err
			}
			if asJSON {
				return command.WriteJSON(env.Stdout, map[string]any{"rows": view.NewAuditRows(rows)})
			}
			return writeAudit(env.Stdout, rows)
		},
	}
	database.register(cmd)
	cmd.Flags().StringVar(&kind, "kind", "", "only rows of this kind")
	cmd.Flags().StringVar(&filter.Actor, "actor", "", "only what this person, or gatewright, did")
	cmd.Flags().StringVar(&filter.RecordID, "record", "", "only rows about the record with this id")
	cmd.Flags().Int64Var(&filter.Before, "before", 0, "only rows before the one with this number, for the next page")
	cmd.Flags().IntVar(&filter.Limit, "limit", 50, "how many rows at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func writeAudit(w io.Writer, rows []audit.Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROW\tTIME\tKIND\tACTOR\tACTION\tRECORD\tREASON\tDETAILS")
	for _, e := range rows {
		fmt.Fprintln(table, tableRow([]string{fmt.Sprint(e.Seq), stamp(e.At), string(e.Kind), e.Actor, e.Action, strings.TrimSpace(e.RecordKind + " " + e.RecordID), e.Reason, e.Details}))
	}
	return table.Flush()
}

var hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func newAuditVerify(env command.Environment) *cobra.Command {
	var database databaseFlags
	var expect, bundles []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify that no row of the audit log was changed, removed or moved",
		Long: `Reads the whole audit log and finds each row that was changed, removed, put in or
moved. Rows that were removed at its end, or a chain that was rebuilt, show only by
comparison with a hash from elsewhere: --expect takes one that the server has logged
("audit log noted", field audit_hash) or that doctor has told, and --bundle takes evidence
bundles. Each of these hashes must still be in the log.

Exit code 1 when something is wrong.`,
		Example: `  gatewright audit verify
  gatewright audit verify --expect 3b1f…64 digits… --bundle evidence/*.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			expected, err := expectedRows(expect, bundles)
			if err != nil {
				return err
			}
			s, err := database.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer s.Close()
			return verifyAudit(cmd.Context(), s, expected, asJSON, env.Stdout)
		},
	}
	database.register(cmd)
	cmd.Flags().StringArrayVar(&expect, "expect", nil, "a hash that must be in the log; may be repeated")
	cmd.Flags().StringArrayVar(&bundles, "bundle", nil, "the file of an evidence bundle whose hash must be in the log; may be repeated")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// expectedRows are those that the log must have.
func expectedRows(hashes, bundles []string) (expected []audit.Expected, err error) {
	for _, hash := range hashes {
		if !hashPattern.MatchString(hash) {
			return nil, command.UsageError{Err: fmt.Errorf("--expect %q: write the 64 hex digits of a hash", hash)}
		}
		expected = append(expected, audit.Expected{Hash: hash, Source: "--expect"})
	}
	for _, path := range bundles {
		data, err := readBundle(path)
		if err != nil {
			return nil, err
		}
		r, err := evidence.Verify(data, nil)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		case len(r.Problems) > 0:
			return nil, fmt.Errorf("%s: the bundle itself was changed, in %q: gatewright evidence verify tells more", path, r.Problems[0].Part)
		case r.Audit.Seq == 0:
			continue // it was made before there was a row
		}
		expected = append(expected, audit.Expected{Seq: r.Audit.Seq, Hash: r.Audit.Hash, Source: path})
	}
	return expected, nil
}

// readBundle reads a file, but no more than a bundle can have.
func readBundle(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, evidence.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

func verifyAudit(ctx context.Context, s *store.Store, expected []audit.Expected, asJSON bool, w io.Writer) error {
	verifier := audit.NewVerifier(expected...)
	if err := s.View(ctx, func(tx *store.Tx) error { return tx.EachAudit(ctx, verifier.Add) }); err != nil {
		return err
	}
	r := verifier.Result()
	if asJSON {
		if err := command.WriteJSON(w, r); err != nil {
			return err
		}
	} else {
		writeVerified(w, r, len(expected))
	}
	if len(r.Problems) > 0 {
		return command.ErrNo
	}
	return nil
}

// writeVerified prints the result for a person. Errors of w are dropped.
func writeVerified(w io.Writer, r audit.Result, expected int) {
	for _, p := range r.Problems {
		where := "audit log"
		if p.Seq > 0 {
			where = fmt.Sprint("row ", p.Seq)
		}
		fmt.Fprintf(w, "wrong  %s: %s\n", where, escape.Line(p.Text))
	}
	if r.Omitted > 0 {
		fmt.Fprintf(w, "wrong  %d more\n", r.Omitted)
	}
	switch {
	case len(r.Problems) > 0:
		return
	case r.Rows == 0:
		fmt.Fprintln(w, "ok  the audit log is empty")
		return
	}
	fmt.Fprintf(w, "ok  %d rows, %d to %d, in one chain; the newest hash is %s\n", r.Rows, r.First, r.Last, r.Hash)
	if expected > 0 {
		fmt.Fprintf(w, "ok  %d hashes from elsewhere are in it\n", expected)
	} else {
		fmt.Fprintln(w, "note  whether rows at its end were removed, or all were rebuilt, shows only by --expect or --bundle")
	}
}
