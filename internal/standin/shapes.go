package standin

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// shape gives an answer the form that the switches want, where that form is the same for every
// call of a service. The caller holds settings.
func (s *Server) shape(of service, ans answer) answer {
	if s.opts.GatewayPrefix == "APIG" && strings.HasPrefix(ans.code, "APIGW.") {
		ans = ans.recoded("APIG." + strings.TrimPrefix(ans.code, "APIGW."))
	}
	if of == serviceCheck && taskErrorForm.MatchString(ans.code) && ans.status == 200 && s.opts.ErrorStatus != "200" {
		ans.status, _ = strconv.Atoi(s.opts.ErrorStatus)
	}
	if of == serviceCheck {
		base, suffix, found := strings.Cut(strings.TrimPrefix(ans.code, "CC."), ".")
		switch {
		case !strings.HasPrefix(ans.code, "CC."):
		case s.opts.ErrorSuffix == autoTrue && !found:
			ans = ans.recoded("CC." + base + ".400")
		case s.opts.ErrorSuffix == autoFalse && found && suffix == "400":
			ans = ans.recoded("CC." + base)
		}
	}
	if body, is := ans.body.(errorBody); is && strings.HasPrefix(body.Code, "SVCSTG.") && s.opts.Release.ErrorKey == "error_message" {
		ans.body = map[string]string{"error_code": body.Code, "error_message": body.Message}
	}
	return ans
}

// taskErrorForm is the form of the errors whose table says status 200.
var taskErrorForm = regexp.MustCompile(`^CC\.0005\d{4}$`)

// recoded returns a refusal with another code.
func (a answer) recoded(code string) answer {
	if body, is := a.body.(errorBody); is {
		body.Code, a.code = code, code
		a.body = body
	}
	return a
}

// reshaped lets handle answer, and gives the summary of its answer the form that the switches
// want.
func (s *checkService) reshaped(handle func(*call) answer) func(*call) answer {
	return func(c *call) answer {
		ans := handle(c)
		body, is := ans.body.(taskSummary)
		if !is || s.opts.SummaryShape == "flat" && !s.opts.QualityAsText {
			return ans
		}
		raw, err := json.Marshal(body)
		fields := map[string]any{}
		if err != nil || json.Unmarshal(raw, &fields) != nil {
			return answer{status: 500}
		}
		if quality, is := fields["code_quality"].(float64); is && s.opts.QualityAsText {
			fields["code_quality"] = strconv.FormatFloat(quality, 'f', -1, 64)
		}
		switch s.opts.SummaryShape {
		case "camel_task_id":
			fields["taskId"] = fields["task_id"]
			delete(fields, "task_id")
		case "old_envelope":
			return ok(s.oldSummary(c, fields))
		}
		ans.body = fields
		return ans
	}
}

// oldSummary is the envelope of the page "example 2" (specs/codearts-check.md 1.9), as far as its
// fields could be read; the rest are the flat fields in camel case.
func (s *checkService) oldSummary(c *call, flat map[string]any) any {
	info := map[string]any{}
	for name, value := range flat {
		if !slices.Contains([]string{"critical_count", "major_count", "minor_count", "suggestion_count"}, name) {
			info[camel(name)] = value
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	info["projectStatus"] = nil
	if task, found := s.find(c.task()); found && task.latest() != nil {
		info["projectStatus"] = strconv.Itoa(int(task.latest().state))
	}
	count := func(name string) any {
		text, _ := flat[name].(string)
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil
		}
		return n
	}
	info["defectInfo"] = map[string]any{
		"totalCount": flat["issue_count"], "criticalCount": count("critical_count"), "seriousCount": count("major_count"),
		"normalCount": count("minor_count"), "promptCount": count("suggestion_count"),
	}
	info["defectStatusInfo"], info["progress"] = map[string]any{}, map[string]any{}
	return map[string]any{"result": map[string]any{"info": info}, "status": "success"}
}

// camel turns snake_case into camelCase.
func camel(name string) string {
	parts := strings.Split(name, "_")
	for i, part := range parts[1:] {
		parts[i+1] = strings.ToUpper(part[:1]) + part[1:]
	}
	return strings.Join(parts, "")
}

// demandsType refuses a body without its type where that header is mandatory: in the 2023 edition
// on run and create, and on V1, V3 and V4 calls; of ServiceStage on its action.
func (s *Server) demandsType(c *call, rt route) (answer, bool) {
	hasBody := c.http.Method == "POST" || c.http.Method == "PUT"
	demanded := hasBody && rt.service != serviceIAM && rt.service != serviceGitHost && rt.service != serviceNone
	if s.opts.ContentType == "documented" {
		demanded = demanded && (s.opts.Dialect == Dialect2023 && slices.Contains([]string{"run_task", "create_task_v2"}, rt.operation) ||
			slices.Contains([]string{"update_check_mode", "update_code_gate", "operate_pipeline"}, rt.operation))
	}
	kind, _, _ := strings.Cut(c.http.Header.Get("Content-Type"), ";")
	if !demanded || s.opts.ContentType == "never" || strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return answer{}, true
	}
	const problem = "Content-Type is not application/json"
	switch rt.service {
	case serviceRelease:
		return s.release.badRequest(c, problem), false
	case serviceCodePipeline:
		return s.codePipelines.refuse(c, problem), false
	default:
		return s.check.badParameter(c, problem), false
	}
}
