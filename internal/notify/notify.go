// Package notify tells people outside of the git hosts what needs them: the words of a notice, the
// bodies that each kind of target takes, and the sending. What is sent when is known by internal/jobs.
package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Event says what a notice is about.
type Event string

const (
	// ApprovalWanted: a release is held, or a checkpoint of its execution waits for a person.
	ApprovalWanted Event = "approval_wanted"
	// Failed, Unknown and Expired: a release ended so.
	Failed  Event = "failed"
	Unknown Event = "unknown"
	Expired Event = "expired"
	// MissingVerdict: a commit that a rule covers has had no verdict for recovery.missing_after.
	MissingVerdict Event = "missing_verdict"
	// CredentialFailing: Huawei Cloud or a git host refuses credentials.
	CredentialFailing Event = "credential_failing"
)

// Events lists every event.
func Events() []Event {
	return []Event{ApprovalWanted, Failed, Unknown, Expired, MissingVerdict, CredentialFailing}
}

// Notice is one thing that a person should know.
type Notice struct {
	Event Event `json:"event"`
	// RecordKind and RecordID name what it is about.
	RecordKind string `json:"record_kind"`
	RecordID   string `json:"record_id"`
	// Connection, Repository, Branch and Commit are empty where it is about none.
	Connection string `json:"connection"`
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
	Commit     string `json:"commit"`
	// Pipeline is the name or the id of a release's pipeline.
	Pipeline string `json:"pipeline"`
	// Reason says more, in English, as the record does.
	Reason string `json:"reason"`
	// Link is the address of more; empty without dashboard.url.
	Link string    `json:"link"`
	At   time.Time `json:"at"`
	// Occasion tells apart what is told of one record and event more than once; it is not sent.
	Occasion string `json:"-"`
}

// Message is what is sent at once: one notice, or a summary of several.
type Message struct {
	// ID stays the same when it is sent again.
	ID      string
	At      time.Time
	Notices []Notice
}

// Lang is a language of notices.
type Lang string

const (
	English Lang = "en"
	Chinese Lang = "zh"
)

func (l Lang) words(event Event) string {
	zh := l == Chinese
	switch event {
	case ApprovalWanted:
		return pick(zh, "等待批准", "Approval wanted")
	case Failed:
		return pick(zh, "发布失败", "Release failed")
	case Unknown:
		return pick(zh, "发布结果未知，需要人工确认", "Release with an unknown result: a person must look")
	case Expired:
		return pick(zh, "发布已过期，无人处理", "Release expired: nobody decided in time")
	case MissingVerdict:
		return pick(zh, "提交没有检查结论", "Commit without a verdict")
	case CredentialFailing:
		return pick(zh, "凭证被拒绝", "Credentials are refused")
	}
	return string(event)
}

func pick(zh bool, chinese, english string) string {
	if zh {
		return chinese
	}
	return english
}

// maxField bounds a text from outside in a message, in runes; maxListed how many notices a summary lists.
const (
	maxField  = 300
	maxListed = 20
)

// title is the message in one line. Texts from outside are in it as they are.
func (l Lang) title(m Message) string {
	if len(m.Notices) != 1 {
		return fmt.Sprintf(pick(l == Chinese, "Gatewright：%d 条通知", "Gatewright: %d notices"), len(m.Notices))
	}
	n := m.Notices[0]
	title := "Gatewright: " + l.words(n.Event)
	if n.Repository != "" {
		title += ": " + oneLine(n.Repository)
	}
	return title
}

// lines are the message in full.
func (l Lang) lines(m Message) []string {
	if len(m.Notices) == 1 {
		return append([]string{l.title(m)}, l.details(m.Notices[0])...)
	}
	lines := []string{l.title(m)}
	for _, n := range m.Notices[:min(len(m.Notices), maxListed)] {
		line := "- " + l.words(n.Event)
		for _, part := range []string{n.Repository, n.Branch, short(n.Commit), n.Pipeline, n.Link} {
			if part != "" {
				line += ", " + oneLine(part)
			}
		}
		lines = append(lines, line)
	}
	if more := len(m.Notices) - maxListed; more > 0 {
		lines = append(lines, fmt.Sprintf(pick(l == Chinese, "另有 %d 条", "and %d more"), more))
	}
	return lines
}

func (l Lang) details(n Notice) (lines []string) {
	zh := l == Chinese
	for _, f := range [][2]string{
		{pick(zh, "仓库", "Repository"), n.Repository}, {pick(zh, "分支", "Branch"), n.Branch}, {pick(zh, "提交", "Commit"), n.Commit},
		{pick(zh, "流水线", "Pipeline"), n.Pipeline}, {pick(zh, "原因", "Reason"), n.Reason}, {pick(zh, "记录", "Record"), strings.TrimSpace(n.RecordKind + " " + n.RecordID)},
		{pick(zh, "详情", "More"), n.Link},
	} {
		if f[1] != "" {
			lines = append(lines, f[0]+": "+oneLine(f[1]))
		}
	}
	return lines
}

// oneLine is a text from outside without line breaks and other control characters, and not too long.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		// Control characters, line separators, and marks that change the direction of writing.
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || slices.Contains([]rune{0x2028, 0x2029, 0x200e, 0x200f, 0xfeff}, r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if runes := []rune(text); len(runes) > maxField {
		text = string(runes[:maxField]) + "…"
	}
	return text
}

func short(commit string) string { return commit[:min(len(commit), 8)] }

// cut is text in at most limit bytes, without half a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}
