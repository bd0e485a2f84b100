package jobs

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/report"
)

// The commands in comments; commandUnknown stands for any other word.
const (
	commandRecheck = "recheck"
	commandWhy     = "why"
	commandApprove = "approve"
	commandRefuse  = "refuse"
	commandOK      = "ok"
	commandHelp    = "help"
	commandUnknown = "unknown"
	// commandOurs may stand before any command, and says whose it is.
	commandOurs = "gatewright"
)

// Commands are the names of the commands in comments on merge requests, as the server file has them.
func Commands() []string {
	return []string{commandRecheck, commandWhy, commandHelp, commandOK, commandApprove, commandRefuse}
}

// longestReason bounds the reason of a command, in characters.
const longestReason = 300

// command is what a comment says to us.
type command struct {
	name string
	// commit is what stands where a commit is wanted, in lower case.
	commit string
	// reason is what follows that.
	reason string
}

// fullCommit reports whether the commit is a full hash.
func (c command) fullCommit() bool {
	return (len(c.commit) == 40 || len(c.commit) == 64) && strings.Trim(c.commit, "0123456789abcdef") == ""
}

// parseCommand finds the command in a comment: in the first line that begins with the prefix and a command
// of ours, outside of blocks of code. `gatewright` may stand before each. A word that is no
// command is one for somebody else, unless it is said to us by that name, or by a prefix with a name.
func parseCommand(prefix, text string) (c command, found bool) {
	fence := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if mark := fenceOf(line); mark != "" {
			switch {
			case fence == "":
				fence = mark
			case strings.HasPrefix(mark, fence) && strings.Trim(strings.TrimSpace(line), mark[:1]) == "":
				fence = ""
			}
			continue
		}
		rest, starts := strings.CutPrefix(line, prefix)
		if fence != "" || !starts {
			continue
		}
		if c, found = commandOf(prefix, rest); found {
			return c, true
		}
	}
	return command{}, false
}

// fenceOf is the mark that begins or ends a block of code in a line; empty in any other.
func fenceOf(line string) string {
	line = strings.TrimLeft(line, " ")
	for _, mark := range []string{"`", "~"} {
		if n := len(line) - len(strings.TrimLeft(line, mark)); n >= 3 {
			return line[:n]
		}
	}
	return ""
}

// commandOf reads what follows the prefix in a line.
func commandOf(prefix, rest string) (c command, found bool) {
	letter := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	named := strings.ContainsFunc(prefix, letter)
	last, _ := utf8.DecodeLastRuneInString(prefix)
	words := strings.Fields(rest)
	if len(words) == 0 || letter(last) != (rest != strings.TrimLeft(rest, " \t")) && !strings.HasSuffix(prefix, " ") {
		return c, false // the prefix is part of a longer word, or stands alone
	}
	if strings.EqualFold(words[0], commandOurs) {
		if named, words = true, words[1:]; len(words) == 0 {
			return command{name: commandHelp}, true
		}
	}
	c.name = strings.ToLower(words[0])
	switch {
	case c.name == commandHelp && !named:
		return c, false // every robot has one
	case slices.Contains(Commands(), c.name):
	case named:
		return command{name: commandUnknown}, true
	default:
		return c, false
	}
	if len(words) > 1 {
		c.commit = strings.ToLower(words[1])
		reason := []rune(report.OneLine(strings.Join(words[2:], " ")))
		c.reason = string(reason[:min(len(reason), longestReason)])
	}
	return c, true
}
