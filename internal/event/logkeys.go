package event

// The names of log fields. Each thing has one name, in every package.
const (
	LogDelivery   = "delivery_id"
	LogConnection = "connection"
	LogRepository = "repository"
	LogSHA        = "sha"
	LogRun        = "run_id"
	LogRelease    = "release_id"
	LogRule       = "rule"
	LogAttempt    = "attempt"
	LogDuration   = "duration"
	LogError      = "error"
	LogState      = "state"
	LogReason     = "reason"
	LogOperation  = "operation"
	LogTask       = "task_id"
	LogPipeline   = "pipeline"
	LogExecution  = "execution_id"
	LogEvent      = "event"
	LogAddr       = "addr"
	LogFile       = "file"
	// LogConfigHash and LogRulesHash say which configuration is in force.
	LogConfigHash = "config_hash"
	LogRulesHash  = "rules_hash"
	// LogSettings are paths in the server file, LogVariables names of environment
	// variables.
	LogSettings  = "settings"
	LogVariables = "variables"
	// LogJob holds the ids of the records that a job is about.
	LogJob = "job"
)
