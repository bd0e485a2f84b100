package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

func newCheckConfig(env command.Environment) *cobra.Command {
	var path, rulesPath string
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "check-config",
		Short: "Print the effective configuration and rules, or everything that is wrong with them",
		Long: `Reads the server file and its rules as serve would. When both are right it prints
them with every default filled in and every secret as <secret>, and exits 0.
Otherwise it prints all complaints at once, each with file, line, what is wrong
and what to write instead, and exits 1. What is accepted and is unsafe or has no
effect is a warning, on standard error; with --strict it is a complaint.

With --rules and no --config only the rules are checked.`,
		Example: `  gatewright check-config --config gatewright.yaml
  gatewright check-config --rules rules.yaml
  gatewright check-config --config gatewright.yaml --strict --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rulesPath != "" && cmd.Flags().Changed("config") {
				return command.UsageError{Err: errors.New("give --config or --rules: the server file names its own rules")}
			}
			var cfg *config.Config
			var policy *rules.Policy
			var warnings strictyaml.Complaints
			var err error
			if rulesPath != "" {
				policy, err = app.LoadRules(rulesPath, nil)
			} else {
				cfg, policy, err = app.Load(path, env.LookupEnv)
			}
			switch {
			case err != nil:
			case cfg == nil:
				warnings = policy.Warnings()
			default:
				warnings = app.Warnings(cfg, policy)
			}
			if strict && err == nil {
				err = warnings.Err()
			}
			if err != nil {
				return reportComplaints(env.Stdout, err, asJSON)
			}
			if asJSON {
				return printEffectiveJSON(env.Stdout, cfg, policy, warnings)
			}
			for _, warning := range warnings {
				fmt.Fprintln(env.Stderr, "warning:", warning)
			}
			return printEffective(env.Stdout, cfg, policy)
		},
	}
	cmd.Flags().StringVar(&path, "config", "gatewright.yaml", "the server file")
	cmd.Flags().StringVar(&rulesPath, "rules", "", "a rules file or folder, to check without a server file")
	cmd.Flags().BoolVar(&strict, "strict", false, "take warnings for complaints")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// reportComplaints prints what is wrong with the files; an error that holds no
// complaint is returned as it is.
func reportComplaints(w io.Writer, err error, asJSON bool) error {
	complaints, others := app.Complaints(err)
	if len(complaints) == 0 {
		return err
	}
	for _, other := range others {
		complaints = append(complaints, strictyaml.Complaint{Problem: other.Error()})
	}
	if asJSON {
		return errors.Join(command.WriteJSON(w, map[string]any{"ok": false, "complaints": complaints}), command.ErrNo)
	}
	for _, complaint := range complaints {
		fmt.Fprintln(w, complaint)
	}
	return command.ErrNo
}

// printEffective prints the files with their defaults filled in and their secrets
// replaced; cfg is nil where the rules are checked alone.
func printEffective(w io.Writer, cfg *config.Config, policy *rules.Policy) error {
	if cfg != nil {
		server, err := cfg.Redacted()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "# The server file, effective\n%s\n", server)
	}
	effective, err := policy.Effective()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "# The rules, effective (hash %s)\n%s", policy.Hash(), effective)
	return nil
}

func printEffectiveJSON(w io.Writer, cfg *config.Config, policy *rules.Policy, warnings strictyaml.Complaints) error {
	effective := map[string]any{"ok": true, "rules_hash": policy.Hash(), "warnings": append(strictyaml.Complaints{}, warnings...)}
	var err error
	if effective["rules"], err = policy.JSON(); err != nil {
		return err
	}
	if cfg != nil {
		if effective["server"], err = cfg.JSON(); err != nil {
			return err
		}
	}
	return command.WriteJSON(w, effective)
}
