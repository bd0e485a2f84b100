package event

// The names of log fields. Each thing has one name, in every package.
const (
	LogDelivery   = "delivery_id"
	LogConnection = "connection"
	// LogHostID is the host's own id of a delivery; LogOtherDelivery the id of another
	// delivery that the line speaks of.
	LogHostID        = "host_id"
	LogOtherDelivery = "other_delivery_id"
	LogRepository    = "repository"
	LogSHA           = "sha"
	LogRun           = "run_id"
	LogRelease       = "release_id"
	LogRule          = "rule"
	LogAttempt       = "attempt"
	LogDuration      = "duration"
	LogError         = "error"
	LogState         = "state"
	LogReason        = "reason"
	LogOperation     = "operation"
	LogTask          = "task_id"
	LogRefKey        = "ref_key"
	LogPipeline      = "pipeline"
	LogExecution     = "execution_id"
	LogEvent         = "event"
	LogAddr          = "addr"
	// LogPrivateAddr is the address of health and metrics; LogAddr is then that of
	// webhooks.
	LogPrivateAddr = "private_addr"
	// LogClient is the address that a request came from.
	LogClient    = "client"
	LogVersion   = "version"
	LogRulesHash = "rules_hash"
	LogStore     = "store"
	LogEndpoints = "endpoints"
	LogReport    = "report"
	// LogCommand is the key of a command in a comment, LogAuthor the host's number of its author.
	LogCommand = "command"
	LogAuthor  = "author_id"
	// LogPerson is the name of an entry of people.
	LogPerson = "person"
	// LogAccount is the name of an account of Huawei Cloud, LogAccounts the endpoints of
	// each but the first.
	LogAccount  = "account"
	LogAccounts = "accounts"
	LogFile     = "file"
	LogLine     = "line"
	// LogSetting leads to a value of a configuration file; LogInstead is what to write.
	LogSetting = "setting"
	LogInstead = "instead"
	// LogDeliveries are the deliveries of a job that decides several.
	LogDeliveries = "delivery_ids"
	// LogConfigHash says which configuration is in force.
	LogConfigHash = "config_hash"
	// LogSettings are paths in the server file, LogVariables names of environment
	// variables.
	LogSettings  = "settings"
	LogVariables = "variables"
)
