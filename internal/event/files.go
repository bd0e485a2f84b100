package event

// The most that is kept of a list of files: GitHub lists at most 3,000 of a pull request
// (specs/githosts.md 1.7), and git takes no path that is longer than the system's.
const (
	maxFiles     = 3000
	maxFilePath  = 4096
	maxFileBytes = 512 << 10
)

// Files are the files that an event changes, as far as they are known. The zero value knows
// nothing.
type Files struct {
	// Paths are relative to the root of the repository, each once. A renamed file has both of
	// its paths.
	Paths []string `json:"paths"`
	// Complete: there are no others.
	Complete bool `json:"complete"`
	// Unknown says why there may be others; empty when Complete.
	Unknown string `json:"unknown,omitempty"`
	// FromHost: the git host was asked for them, and did not only send them with the event.
	FromHost bool `json:"from_host,omitempty"`
	// AskHost: the git host can tell what the payload does not.
	AskHost bool `json:"-"`
}

// NewFiles returns the files of a list, bounded. unknown says why there may be others, and
// is empty when there are none.
func NewFiles(paths []string, unknown string) Files {
	f := Files{Unknown: unknown}
	seen := make(map[string]bool, min(len(paths), maxFiles))
	bytes := 0
	for _, path := range paths {
		switch bytes += len(path); {
		case path == "" || seen[path]:
			bytes -= len(path)
			continue
		case len(f.Paths) == maxFiles || len(path) > maxFilePath || bytes > maxFileBytes:
			if f.Unknown == "" {
				f.Unknown = "there are more of them, or longer ones, than are kept"
			}
			bytes -= len(path)
			continue
		}
		seen[path] = true
		f.Paths = append(f.Paths, path)
	}
	f.Complete = f.Unknown == ""
	return f
}
