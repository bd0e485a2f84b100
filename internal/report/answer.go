package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
)

// Answer is what a command in a comment is answered with.
type Answer string

// The answers. Those with arguments say which.
const (
	// AnswerRechecked, AnswerApproved, AnswerRefused and AnswerTrusted: it was done.
	AnswerRechecked Answer = "rechecked"
	AnswerApproved  Answer = "approved"
	AnswerRefused   Answer = "refused"
	AnswerTrusted   Answer = "trusted"
	// AnswerHeldApproved: an approval of a held release is noted; that, and what it waits for. AnswerNobody: the author is no
	// entry of people.
	AnswerHeldApproved Answer = "held_approved"
	AnswerNobody       Answer = "nobody"
	// AnswerNo: it was not done; why, a text from outside.
	AnswerNo Answer = "no"
	// AnswerDenied: the author may not; who may. AnswerRightsUnknown: nobody can tell whether they may.
	AnswerDenied        Answer = "denied"
	AnswerRightsUnknown Answer = "rights_unknown"
	// AnswerClosed: the merge request is not open.
	AnswerClosed Answer = "closed"
	// AnswerFullCommit: the commit is not a full one; the current one. AnswerOtherCommit: it is not the
	// newest; the one that was given, the current one.
	AnswerFullCommit  Answer = "full_commit"
	AnswerOtherCommit Answer = "other_commit"
	// AnswerUnknown: there is no such command; how to ask for help. AnswerHelp: what there is; the prefix.
	AnswerUnknown Answer = "unknown"
	AnswerHelp    Answer = "help"
	// AnswerNotChecked: no rule has checked the current commit; that.
	AnswerNotChecked Answer = "not_checked"
	// AnswerRunning: the check has not ended.
	AnswerRunning Answer = "running"
	// AnswerNothingWaits: no checkpoint waits; the commit. AnswerSeveralWait: more than one does; which.
	AnswerNothingWaits Answer = "nothing_waits"
	AnswerSeveralWait  Answer = "several_wait"
)

// answers are the texts in English and Chinese.
func answers() map[Answer][2]string {
	return map[Answer][2]string{
		AnswerRechecked:     {"this commit is checked again.", "正在重新检查此提交。"},
		AnswerApproved:      {"the release of this commit is approved.", "已批准此提交的发布。"},
		AnswerHeldApproved:  {"your approval of release %s is noted. It %s.", "已记录您对发布 %s 的批准。该发布：%s。"},
		AnswerNobody:        {"not done, because your account is in no entry of `people` in the server file.", "未执行：服务器文件的 `people` 中没有您的账号。"},
		AnswerRefused:       {"the release of this commit is refused.", "已拒绝此提交的发布。"},
		AnswerTrusted:       {"this commit is checked now.", "现在检查此提交。"},
		AnswerNo:            {"not done: %s", "未执行：%s"},
		AnswerDenied:        {"not done, because you may not give this command here. It is for %s.", "未执行：您无权在此使用该命令，仅限：%s。"},
		AnswerRightsUnknown: {"not done, because the git host does not tell Gatewright who may. Whoever runs Gatewright finds the reason in its log.", "未执行：代码托管平台没有告知 Gatewright 谁有权限，原因见其日志。"},
		AnswerClosed:        {"not done, because this merge request is not open.", "未执行：此合并请求不是打开状态。"},
		AnswerFullCommit:    {"not done: write the full hash of the commit. The newest one here is `%s`.", "未执行：请写完整的提交号，此处最新的是 `%s`。"},
		AnswerOtherCommit:   {"not done, because `%s` is not the newest commit of this merge request. That is `%s`.", "未执行：`%s` 不是此合并请求的最新提交，最新的是 `%s`。"},
		AnswerUnknown:       {"there is no such command. `%s` shows what there is.", "没有这个命令，`%s` 列出所有命令。"},
		AnswerHelp: {"one command in each comment, at the start of a line:\n\n- `%[1]srecheck` checks the newest commit again\n- `%[1]swhy` says what became of it, and why\n- `%[1]sapprove COMMIT` and `%[1]srefuse COMMIT REASON` decide about a release that waits\n- `%[1]sok COMMIT` lets a commit from a fork be checked\n- `%[1]sgatewright help` shows this\n\nCOMMIT is the full hash. Each can be written as `%[1]sgatewright recheck` too, where the host has a command of that name.",
			"每条评论一个命令，写在行首：\n\n- `%[1]srecheck` 重新检查最新的提交\n- `%[1]swhy` 说明检查结果及原因\n- `%[1]sapprove COMMIT`、`%[1]srefuse COMMIT REASON` 决定等待中的发布\n- `%[1]sok COMMIT` 允许检查来自 fork 的提交\n- `%[1]sgatewright help` 显示本说明\n\nCOMMIT 为完整的提交号。如平台自身有同名命令，可写作 `%[1]sgatewright recheck`。"},
		AnswerNotChecked:   {"no rule has checked commit `%s` yet.", "尚无规则检查过提交 `%s`。"},
		AnswerRunning:      {"not done, because the check has not ended yet.", "未执行：检查尚未结束。"},
		AnswerNothingWaits: {"not done, because no release of commit `%s` waits for an approval.", "未执行：提交 `%s` 没有等待审批的发布。"},
		AnswerSeveralWait:  {"not done, because more than one checkpoint waits: %s. Decide each by `gatewright approve` or `gatewright refuse`.", "未执行：有多个检查点在等待：%s。请用 `gatewright approve` 或 `gatewright refuse` 逐个决定。"},
	}
}

// Answer is the text of an answer. Arguments are shown as they are: make texts from outside safe by
// [Text].
func (s Settings) Answer(a Answer, args ...any) string {
	text := answers()[a][0]
	if s.Language == "zh" {
		text = answers()[a][1]
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// AnswerMarker is the hidden line by which our answer to a comment is found again.
func AnswerMarker(commentID string) string {
	return "<!-- gatewright: answer to " + commentID + " -->"
}

// Reply is the comment that answers a command of somebody. No line of it begins as a command does.
func (s Settings) Reply(commentID, command, author, text string) string {
	by := "by"
	if s.Language == "zh" {
		by = "来自"
	}
	colon := ": "
	if strings.HasPrefix(text, "\n") {
		colon = ":"
	}
	return fmt.Sprintf("%s\n`%s` %s %s%s%s\n", AnswerMarker(commentID), command, by, Text(author, longestCell), colon, text)
}

// Who names those who may give a command: the names of groups, and writers for whoever may write to the
// repository. Nobody may when both are empty.
func (s Settings) Who(groups []string, writers bool) string {
	words := [3]string{"whoever may write to the repository", "the group `%s`", "nobody"}
	if s.Language == "zh" {
		words = [3]string{"对仓库有写权限的人", "组 `%s`", "无"}
	}
	var who []string
	if writers {
		who = append(who, words[0])
	}
	for _, group := range groups {
		who = append(who, fmt.Sprintf(words[1], group))
	}
	if len(who) == 0 {
		return words[2]
	}
	return strings.Join(who, ", ")
}

// Why says in a line for each run of a commit what became of it, and what the gate compared; undecided is
// why there are no runs, a text from outside.
func (s Settings) Why(runs []codecheck.Run, undecided string) string {
	if len(runs) == 0 {
		return Text(undecided, longestSentence)
	}
	w := s.words()
	var lines []string
	for _, run := range runs {
		_, text := w.run(run)
		if run.Verdict != nil {
			text = strings.Join(append(slices.Clone(run.Verdict.Reasons), run.Verdict.Remarks...), ", ")
		}
		line := fmt.Sprintf("- %s %s, %s %s: **%s**", w.commit, run.Event.HeadSHA[:min(8, len(run.Event.HeadSHA))], w.rule, Text(run.Rule, longestCell), run.State)
		if text != "" {
			line += ", " + Text(text, longestSentence)
		}
		if s.Dashboard != "" {
			line += " " + s.Dashboard + "/runs/" + run.ID
		}
		lines = append(lines, line)
	}
	return "\n\n" + strings.Join(lines, "\n")
}
