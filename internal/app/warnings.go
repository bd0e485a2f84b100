package app

import (
	"errors"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Warnings returns everything in the server file and its rules that is accepted and is
// unsafe or has no effect: what each file shows by itself, and what only both together
// show, or the database that they name. Each has its place and what to write instead.
func Warnings(cfg *config.Config, policy *rules.Policy) strictyaml.Complaints {
	warnings := append(cfg.Warnings(), policy.Warnings()...)
	warnings = append(warnings, policy.WarningsFor(rulesServer(cfg))...)

	warn := func(path, problem, instead string) {
		warnings = append(warnings, cfg.Complain(path, problem, instead))
	}
	if p := cfg.Store.Postgres; p != nil && store.Unencrypted(p.DSN.Value()) {
		warn("store.postgres.dsn", "payloads and the password cross the network in the clear (sslmode=disable)",
			"write sslmode=verify-full in the connection string")
	}
	if p := cfg.Store.SQLite.Path; p != "" && readByOthers(p) {
		warn("store.sqlite.path", "every user of this machine can read the database file, which holds payloads of private repositories",
			"run chmod 600 "+p)
	}
	return warnings.Sorted()
}

// rulesServer is what the rules have to know of the server file.
func rulesServer(cfg *config.Config) rules.Server {
	server := rules.Server{Accounts: map[string]rules.Account{}, Groups: map[string]rules.Group{}}
	for name, group := range cfg.Groups {
		server.Groups[name] = rules.Group{People: cfg.PeopleOf(name), Claim: group.Claim != ""}
	}
	for _, name := range cfg.AccountNames() {
		h, _ := cfg.Account(name)
		server.Accounts[name] = rules.Account{
			CreateV3:            codecheck.Capability(h.Capabilities.CreateV3).In(string(h.Dialect)),
			TemporaryRepository: h.Dialect == config.Dialect2023,
			Pipelines:           h.Pipelines,
		}
	}
	for _, c := range cfg.Connections {
		server.Connections = append(server.Connections, rules.Connection{Name: c.Name, RepoType: c.RepoType, Token: c.CallsHost()})
	}
	return server
}

// LogWarnings logs each warning about the configuration.
func LogWarnings(log *zap.Logger, warnings strictyaml.Complaints) {
	logComplaints(log, zap.WarnLevel, "unsafe configuration found", warnings)
}

// LogRejected logs why the configuration is not used: each complaint in err by itself.
func LogRejected(log *zap.Logger, err error) {
	complaints, others := Complaints(err)
	logComplaints(log, zap.ErrorLevel, "configuration rejected", complaints)
	for _, other := range others {
		log.Error("configuration rejected", zap.Error(other))
	}
}

func logComplaints(log *zap.Logger, level zapcore.Level, message string, complaints strictyaml.Complaints) {
	for _, c := range complaints {
		log.Log(level, message, zap.String(event.LogFile, c.File), zap.Int(event.LogLine, c.Line), zap.String(event.LogSetting, c.Path),
			zap.String(event.LogReason, c.Problem), zap.String(event.LogInstead, c.Instead))
	}
}

// Complaints collects the complaints of err and of all errors joined in it, and the
// errors that are not complaints.
func Complaints(err error) (complaints strictyaml.Complaints, others []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			more, rest := Complaints(err)
			complaints, others = append(complaints, more...), append(others, rest...)
		}
		return complaints, others
	}
	if !errors.As(err, &complaints) {
		others = append(others, err)
	}
	return complaints, others
}

// readByOthers says that other users can read a file: by its own mode, and by that of
// its folder. A file that is missing is made for its owner alone.
func readByOthers(path string) bool {
	file, err := os.Stat(path)
	if err != nil || file.Mode().Perm()&0o004 == 0 {
		return false
	}
	folder, err := os.Stat(filepath.Dir(path))
	return err == nil && folder.Mode().Perm()&0o001 != 0
}
