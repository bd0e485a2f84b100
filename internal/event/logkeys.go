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
	LogVersion    = "version"
	LogRulesHash  = "rules_hash"
	LogStore      = "store"
	LogEndpoints  = "endpoints"
	LogFile       = "file"
	LogLine       = "line"
	// LogSetting leads to a value of a configuration file; LogInstead is what to write.
	LogSetting = "setting"
	LogInstead = "instead"
	// LogDeliveries are the deliveries of a job that decides several.
	LogDeliveries = "delivery_ids"
)
