package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/store"
)

func newToken(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens with which machines use the API",
		Long: `Makes, lists and revokes the tokens with which machines use the API. A machine is nobody's
person: whatever its role, its token approves nothing.`,
		Args: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("write token create, token list or token revoke, and not %q", strings.Join(args, " "))
		},
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE:               func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate(env), newTokenList(env), newTokenRevoke(env))
	return cmd
}

// tokenView is a token as these commands print it as JSON.
type tokenView struct {
	Name string `json:"name"`
	// ID is the public beginning of the token.
	ID        string     `json:"id"`
	Role      string     `json:"role"`
	State     string     `json:"state"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by"`
	ExpiresAt time.Time  `json:"expires_at"`
	LastUsed  *time.Time `json:"last_used_at"`
	RevokedAt *time.Time `json:"revoked_at"`
	RevokedBy string     `json:"revoked_by"`
	// Token is the token itself, which only create prints.
	Token string `json:"token,omitempty"`
}

func newTokenView(t store.Token, now time.Time) tokenView {
	v := tokenView{Name: t.Name, ID: t.ID, Role: t.Role, State: "active", CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy, ExpiresAt: t.ExpiresAt, RevokedBy: t.RevokedBy}
	if !t.LastUsed.IsZero() {
		v.LastUsed = &t.LastUsed
	}
	switch {
	case !t.RevokedAt.IsZero():
		v.State, v.RevokedAt = "revoked", &t.RevokedAt
	case !now.Before(t.ExpiresAt):
		v.State = "expired"
	}
	return v
}

func newTokenCreate(env command.Environment) *cobra.Command {
	var database databaseFlags
	var name, role, actor, expires string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create --name NAME --role ROLE",
		Short: "Make a token and print it, once",
		Long: `Makes a token for a machine and prints it, alone, to standard output. It is printed this once: the
database keeps a hash of it. A viewer sees everything; an operator may also replay, rerun, stop and resolve, and act on
executions; an admin may do what all roles may, but for what takes a person.`,
		Example: `  gatewright token create --name ci --role operator --expires 2160h
  gatewright token create --name deploy --role operator > token
  gatewright token create --name wallboard --role viewer --expires 2027-06-30 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			until, err := expiry(expires, now)
			if err != nil {
				return command.UsageError{Err: err}
			}
			if strings.TrimSpace(actor) == "" {
				return command.UsageError{Err: errors.New("--actor: say who makes it")}
			}
			token, stored, err := access.NewToken(name, access.Role(role), actor, now, until)
			if err != nil {
				return command.UsageError{Err: err}
			}
			err = database.withStore(cmd.Context(), env, func(s *store.Store) error { return s.AddToken(cmd.Context(), stored) })
			if err != nil {
				return err
			}
			if asJSON {
				view := newTokenView(stored, now)
				view.Token = token
				return command.WriteJSON(env.Stdout, view)
			}
			if _, err = fmt.Fprintln(env.Stdout, token); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stderr, "This is shown once. Its role is %s, until %s: Authorization: Bearer TOKEN\n", role, stored.ExpiresAt.Format(time.RFC3339))
			return err
		},
	}
	database.register(cmd)
	cmd.Flags().StringVar(&name, "name", "", "what the token is for: lower-case letters, digits and -; mandatory")
	cmd.Flags().StringVar(&role, "role", "", "viewer, operator or admin; mandatory")
	cmd.Flags().StringVar(&expires, "expires", "2160h", "when it ends: after a time such as 2160h, or at the beginning of a day (UTC) such as 2027-06-30")
	cmd.Flags().StringVar(&actor, "actor", osUser(), "who makes it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// expiry reads a duration from now, or a date.
func expiry(text string, now time.Time) (time.Time, error) {
	if after, err := time.ParseDuration(text); err == nil {
		if after <= 0 {
			return time.Time{}, errors.New("--expires: write a time to come, such as 2160h")
		}
		return now.Add(after), nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--expires: %q is neither a time such as 2160h nor a date such as 2027-06-30", text)
	}
	return day, nil
}

// withStore opens the database for a change; a running server may use it at the same time.
func (f *databaseFlags) withStore(ctx context.Context, env command.Environment, do func(*store.Store) error) error {
	options, err := f.options(env)
	if err != nil {
		return err
	}
	options.WithoutLock = true
	s, err := store.Open(ctx, options)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

func newTokenList(env command.Environment) *cobra.Command {
	var database databaseFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens, with their last use",
		Long: `Lists the tokens, the newest first, also those that expired or were revoked. The last use is
true to the minute.`,
		Example: "  gatewright token list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, err := database.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			tokens, err := s.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			now := time.Now()
			views := []tokenView{}
			for _, t := range tokens {
				views = append(views, newTokenView(t, now))
			}
			if asJSON {
				for _, view := range views {
					if err := command.WriteJSON(env.Stdout, view); err != nil {
						return err
					}
				}
				return nil
			}
			return writeTokens(env.Stdout, views)
		},
	}
	database.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func writeTokens(w io.Writer, views []tokenView) error {
	if len(views) == 0 {
		_, err := fmt.Fprintln(w, "no tokens: gatewright token create makes one")
		return err
	}
	tab := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tab, "NAME\tROLE\tSTATE\tEXPIRES\tLAST USE\tCREATED BY")
	for _, v := range views {
		used := "never"
		if v.LastUsed != nil {
			used = v.LastUsed.Format(time.RFC3339)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, v.Role, v.State, v.ExpiresAt.Format(time.RFC3339), used, escape.Line(v.CreatedBy))
	}
	return tab.Flush()
}

func newTokenRevoke(env command.Environment) *cobra.Command {
	var database databaseFlags
	var actor string
	cmd := &cobra.Command{
		Use:     "revoke NAME",
		Short:   "Revoke a token",
		Long:    `Revokes the token of that name. It stops working at once, on all replicas, and stays in the list.`,
		Example: "  gatewright token revoke ci",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := database.withStore(cmd.Context(), env, func(s *store.Store) error {
				return s.RevokeToken(cmd.Context(), args[0], actor, time.Now())
			})
			if errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("there is no token %q that could be revoked: gatewright token list shows them", args[0])
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "token %s is revoked\n", args[0])
			return err
		},
	}
	database.register(cmd)
	cmd.Flags().StringVar(&actor, "actor", osUser(), "who revokes it")
	return cmd
}
