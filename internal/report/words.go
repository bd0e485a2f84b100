package report

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/release"
)

// words are the words of one language.
type words struct {
	waits, running, superseded, stopped, failedScan, ignored string
	passedWithoutLimits, recovered                           string
	// needsTrust has a place for how somebody vouches: by a comment, or okByCommand.
	needsTrust, okByComment, okByCommand string

	releaseStarts, releaseRuns, releaseWaits, releasePaused, released, decided, releaseFailed string
	// held… are of a release that is held; heldMissing has places for a number and groups.
	held, heldMissing, heldWindow, heldFreeze, heldUntil, heldSeparator, or                    string
	releaseRefused, releaseStopped, releaseRolledBack, releaseExpired, releaseUnknown, atPoint string

	titlePassed, titleFailed, titleErrored                          string
	commit, rule, gate, colon, severity, ruleColumn, where, message string
	newFindings, allFindings, more, nothingNew                      string
	next, nextFailed, nextPassed, nextErrored, again, againRun      string
	// againComment is how to check again by a comment.
	againComment string
}

func (s Settings) words() words {
	if s.Language == "zh" {
		return chinese()
	}
	return english()
}

func english() words {
	return words{
		waits: "waits for its check", running: "is being checked", superseded: "a newer commit came, so that this one is not checked to its end",
		stopped: "the check was stopped: ", failedScan: "no verdict: ", ignored: "not checked: ", passedWithoutLimits: "checked, and the gate sets no limit",
		needsTrust: "comes from a fork: an authorised person must vouch for this commit, %s", okByComment: "by the comment %sok and the full commit", okByCommand: "by gatewright ok",
		recovered: " (recovered: no webhook came)",

		releaseStarts: "the release is about to begin", releaseRuns: "is being released", releaseWaits: "the release waits for an approval",
		releasePaused: "the release is paused", released: "released", decided: "the checkpoint is decided: ", releaseFailed: "the release failed: ",
		held: "held: ", heldMissing: "waits for %d of %s", heldWindow: "waits for window ", heldFreeze: "frozen by ", heldUntil: "until ", heldSeparator: "; ", or: " or ",
		releaseRefused: "not released: ", releaseStopped: "the release was stopped: ", releaseRolledBack: "the release was rolled back",
		releaseExpired: "nobody decided in time: ", releaseUnknown: "somebody must look: ", atPoint: " at ",

		titlePassed: "Gatewright: passed", titleFailed: "Gatewright: failed", titleErrored: "Gatewright: no verdict",
		commit: "Commit", rule: "rule", gate: "Gate", colon: ": ", severity: "Severity", ruleColumn: "Rule", where: "Where", message: "Message",
		newFindings: "New findings", allFindings: "Findings (not compared with an earlier check)", more: "and %d more", nothingNew: "No new findings.",
		next: "What happens next.", nextFailed: "Push a mended commit; it is checked automatically.",
		nextPassed:  "Nothing more is needed from this check.",
		nextErrored: "The check did not come to a verdict. It can be repeated.",
		again:       "To check this commit again", againRun: "an operator runs", againComment: "write `%srecheck` in a comment, or",
	}
}

func chinese() words {
	return words{
		waits: "等待检查", running: "正在检查", superseded: "已有更新的提交，此提交不再检查",
		stopped: "检查已停止：", failedScan: "没有结论：", ignored: "不检查：", passedWithoutLimits: "已检查，门禁未设限制",
		needsTrust: "来自 fork：须由有权限的人确认此提交（%s）", okByComment: "评论 %sok 加完整提交号", okByCommand: "gatewright ok",
		recovered: "（未收到 webhook，已补检）",

		releaseStarts: "即将发布", releaseRuns: "正在发布", releaseWaits: "发布等待审批",
		releasePaused: "发布已暂停", released: "已发布", decided: "检查点已处理：", releaseFailed: "发布失败：",
		held: "暂缓发布：", heldMissing: "等待 %[2]s 中 %[1]d 人批准", heldWindow: "等待窗口 ", heldFreeze: "冻结：", heldUntil: "截止 ", heldSeparator: "；", or: " 或 ",
		releaseRefused: "未发布：", releaseStopped: "发布已停止：", releaseRolledBack: "发布已回滚",
		releaseExpired: "超时未审批：", releaseUnknown: "需要人工确认：", atPoint: "，位于 ",

		titlePassed: "Gatewright：通过", titleFailed: "Gatewright：未通过", titleErrored: "Gatewright：没有结论",
		commit: "提交", rule: "规则", gate: "门禁", colon: "：", severity: "级别", ruleColumn: "规则", where: "位置", message: "说明",
		newFindings: "新问题", allFindings: "问题（未与之前的检查比较）", more: "另有 %d 个", nothingNew: "没有新问题。",
		next: "接下来：", nextFailed: "推送修复后的提交，会自动重新检查。",
		nextPassed:  "此检查不再需要任何操作。",
		nextErrored: "检查没有得出结论，可以重新检查。",
		again:       "重新检查此提交", againRun: "由运维人员执行", againComment: "在评论中写 `%srecheck`，或",
	}
}

// run is what a run says.
func (w words) run(run codecheck.Run) (forge.StatusState, string) {
	switch run.State {
	case codecheck.Queued, codecheck.Starting:
		if len(run.RefsTried) > 0 {
			return forge.StateRunning, w.running // it goes on with another ref
		}
		return forge.StatePending, w.waits
	case codecheck.Running:
		return forge.StateRunning, w.running
	case codecheck.Passed:
		return forge.StateSuccess, w.verdict(run)
	case codecheck.Failed:
		return forge.StateFailure, w.verdict(run)
	case codecheck.Superseded:
		return forge.StateCanceled, w.superseded
	case codecheck.Stopped:
		return forge.StateCanceled, w.stopped + run.Reason
	}
	return forge.StateError, w.failedScan + run.Reason
}

// verdict is the comparisons that decided: of a failed run those that failed, else all.
func (w words) verdict(run codecheck.Run) string {
	if run.Verdict == nil {
		return run.Reason
	}
	var compared []string
	for _, reason := range run.Verdict.Reasons {
		if run.State != codecheck.Failed || !strings.Contains(reason, "≤") {
			compared = append(compared, reason)
		}
	}
	if len(compared) == 0 {
		compared = run.Verdict.Reasons
	}
	if len(run.Verdict.Comparisons) == 0 && run.State == codecheck.Passed && len(compared) < 2 {
		return w.passedWithoutLimits
	}
	return strings.Join(compared, ", ")
}

// release is what a release says.
func (w words) release(r release.Release) (forge.StatusState, string) {
	decision := r.Plan.Task != ""
	switch r.State {
	case release.Held:
		return forge.StatePending, w.holds(r)
	case release.Starting:
		return forge.StatePending, w.releaseStarts
	case release.Running:
		return forge.StateRunning, w.releaseRuns
	case release.AwaitingApproval:
		text := w.releaseWaits
		if len(r.Waiting) > 0 {
			text += w.atPoint + strings.Join(r.Waiting, ", ")
		}
		return forge.StatePending, text
	case release.Paused:
		return forge.StatePending, w.releasePaused
	case release.Succeeded:
		if decision {
			return forge.StateSuccess, fmt.Sprintf("%s%s %s", w.decided, r.Plan.Action, r.Plan.Task)
		}
		return forge.StateSuccess, w.released
	case release.Refused:
		return forge.StateFailure, w.releaseRefused + r.Reason
	case release.Stopped:
		return forge.StateCanceled, w.releaseStopped + r.Reason
	case release.RolledBack:
		return forge.StateFailure, w.releaseRolledBack
	case release.Expired:
		return forge.StateError, w.releaseExpired + r.Reason
	case release.Unknown:
		return forge.StateError, w.releaseUnknown + r.Reason
	}
	return forge.StateFailure, w.releaseFailed + r.Reason
}

// holds is what a release that is held says: what is missing, and until when.
func (w words) holds(r release.Release) string {
	h := r.Hold
	if h == nil {
		return w.held + r.Reason
	}
	var parts []string
	if h.Missing > 0 {
		parts = append(parts, fmt.Sprintf(w.heldMissing, h.Missing, strings.Join(h.Groups, w.or)))
	}
	if h.Unknown != "" {
		parts = append(parts, h.Unknown)
	}
	if h.Window != "" {
		parts = append(parts, w.heldWindow+h.Window)
	}
	if h.Freeze != "" {
		parts = append(parts, w.heldFreeze+h.Freeze)
	}
	if parts = append(parts, w.heldUntil+h.Until.UTC().Format("2006-01-02 15:04 UTC")); len(parts) == 1 {
		return w.releaseStarts
	}
	return w.held + strings.Join(parts, w.heldSeparator)
}
