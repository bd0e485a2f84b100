package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

func newEvidence(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Get and verify the evidence of a release",
		Long: `When a release ends, a bundle is made of all that led to it and of what came of it.
Its parts are chained by hashes and signed by evidence.key of the server file;
docs/evidence.md describes the format.`,
		RunE: func(*cobra.Command, []string) error {
			return command.UsageError{Err: errors.New("say what to do: evidence get, evidence verify or evidence keygen")}
		},
	}
	cmd.AddCommand(newEvidenceGet(env), newEvidenceVerify(env), newEvidenceKeygen(env))
	return cmd
}

func newEvidenceGet(env command.Environment) *cobra.Command {
	var database databaseFlags
	var output string
	cmd := &cobra.Command{
		Use:   "get RELEASE",
		Short: "Print the evidence bundle of a release that has ended",
		Long: `Prints the bundle of a release, byte for byte as it was made, or writes it into a
file. The first digits of the id are enough where no other id begins with them.`,
		Example: `  gatewright evidence get 019aab6e-7d0c -o evidence.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := database.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer s.Close()
			bundle, err := findEvidence(cmd.Context(), s, args[0])
			if err != nil {
				return err
			}
			if output == "" {
				_, err = env.Stdout.Write(bundle)
				return err
			}
			return os.WriteFile(output, bundle, 0o600)
		},
	}
	database.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "the file to write; default: standard output")
	return cmd
}

// findEvidence returns the bundle of the release whose id begins with some digits.
func findEvidence(ctx context.Context, s *store.Store, digits string) (bundle []byte, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		ids, err := tx.EvidenceIDs(ctx, digits, 2)
		switch {
		case err != nil:
			return err
		case digits == "" || len(ids) == 0:
			return fmt.Errorf("no release with an id that begins with %q has evidence: it is made when a release ends, and kept for evidence.retention", digits)
		case len(ids) > 1 && ids[0] != digits:
			return fmt.Errorf("several releases have an id that begins with %q: write more digits of it", digits)
		}
		bundle, err = view.Evidence(ctx, tx, ids[0])
		return err
	})
	return bundle, err
}

func newEvidenceVerify(env command.Environment) *cobra.Command {
	var keyFile string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify an evidence bundle, without the server",
		Long: `Verifies every byte of a bundle and names the part that was changed. With
--public-key it must be signed by that key; without, the bundle itself names its key,
which proves only that nothing was changed by accident. A bundle that is not signed
can be compared with the audit log: gatewright audit verify --bundle FILE.

Exit code 1 when something is wrong.`,
		Example: `  gatewright evidence verify evidence.json --public-key evidence.pub`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var key ed25519.PublicKey
			if keyFile != "" {
				text, err := os.ReadFile(keyFile)
				if err != nil {
					return err
				}
				if key, err = evidence.PublicKey(text); err != nil {
					return fmt.Errorf("%s: %w", keyFile, err)
				}
			}
			data, err := readBundle(args[0])
			if err != nil {
				return err
			}
			r, err := evidence.Verify(data, key)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if asJSON {
				err = command.WriteJSON(env.Stdout, r)
			} else {
				writeEvidence(env.Stdout, r)
			}
			if err == nil && len(r.Problems) > 0 {
				err = command.ErrNo
			}
			return err
		},
	}
	cmd.Flags().StringVar(&keyFile, "public-key", "", "the file of the public key that must have signed it, in PEM form")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// writeEvidence prints the result for a person. Errors of w are dropped.
func writeEvidence(w io.Writer, r evidence.Result) {
	for _, p := range r.Problems {
		fmt.Fprintf(w, "wrong  %s: %s\n", escape.Line(p.Part), escape.Line(p.Text))
	}
	if len(r.Problems) > 0 {
		return
	}
	fmt.Fprintf(w, "ok  the evidence of release %s is as it was made; its hash is %s\n", escape.Line(r.ReleaseID), r.Root)
	switch {
	case r.Trusted:
		fmt.Fprintf(w, "ok  it is signed by the given key, %s\n", r.KeyID)
	case r.Signed:
		fmt.Fprintf(w, "note  it is signed by the key %s, which only the bundle names: give the key that you trust by --public-key\n", r.KeyID)
	default:
		fmt.Fprintln(w, "note  it is not signed: whoever could change it could have made all its hashes again")
	}
	fmt.Fprintf(w, "note  when it was made, the newest row of the audit log was %d, with the hash %s\n", r.Audit.Seq, escape.Line(r.Audit.Hash))
}

func newEvidenceKeygen(env command.Environment) *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key that signs evidence",
		Long: `Writes a new private key (ed25519, PEM) into FILE, which must not exist, for
evidence.key of the server file, and prints the public key, by which bundles are
verified. Keep the public key where those who verify find it.`,
		Example: `  gatewright evidence keygen /run/secrets/evidence.pem > evidence.pub`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			private, public, err := evidence.GenerateKey()
			if err != nil {
				return err
			}
			file, err := os.OpenFile(args[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = file.Write(private)
			if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
				return err
			}
			_, err = env.Stdout.Write(public)
			return err
		},
	}
}
