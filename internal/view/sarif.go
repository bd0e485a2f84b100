package view

import (
	"net/url"
	"path"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/gatewright/gatewright/internal/codecheck"
)

// fingerprintName is the key of our fingerprints in SARIF; its number changes when they
// are made in another way.
const fingerprintName = "gatewrightFingerprint/v1"

// NewSARIF is the findings of a run as a SARIF 2.1.0 log. Files are relative to the root of
// the repository. A finding without a file has no location.
func NewSARIF(run codecheck.Run, found Findings) *sarif.Report {
	log := sarif.NewRun()
	log.Tool = sarif.NewTool()
	log.Tool.Driver = sarif.NewToolComponent()
	log.Tool.Driver.Name = new("CodeArts Check")
	log.AutomationDetails = sarif.NewRunAutomationDetails()
	log.AutomationDetails.ID = new("gatewright/" + run.Rule + "/" + run.ID)
	log.ColumnKind = new("unicodeCodePoints")
	log.VersionControlProvenance = append(log.VersionControlProvenance, provenance(run)...)
	log.Invocations = append(log.Invocations, invocation(found))

	rules := map[string]int{}
	for _, f := range found.Findings {
		id := ruleID(f)
		index, known := rules[id]
		if !known {
			index = len(rules)
			rules[id] = index
			log.Tool.Driver.Rules = append(log.Tool.Driver.Rules, newRule(id, f))
		}
		log.Results = append(log.Results, newResult(id, index, f))
	}
	report := sarif.NewReport()
	report.Schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	return report.AddRun(log)
}

// provenance says what was scanned.
func provenance(run codecheck.Run) []*sarif.VersionControlDetails {
	address, err := url.Parse(run.Event.Repository.HTTPSURL)
	if err != nil || !address.IsAbs() {
		return nil
	}
	details := sarif.NewVersionControlDetails()
	details.RepositoryURI, details.RevisionID = new(address.String()), new(run.Event.HeadSHA)
	if branch := run.Event.SourceBranch; branch != "" {
		details.Branch = &branch
	} else {
		details.Branch = new(run.Event.Branch)
	}
	return []*sarif.VersionControlDetails{details}
}

// invocation says whether the findings are all that there are.
func invocation(found Findings) *sarif.Invocation {
	i := sarif.NewInvocation()
	i.ExecutionSuccessful = new(true)
	if found.Note != "" {
		note := sarif.NewNotification()
		note.Message = sarif.NewTextMessage(found.Note)
		if found.Complete {
			note.Level = "note"
		}
		i.ToolExecutionNotifications = append(i.ToolExecutionNotifications, note)
	}
	return i
}

// ruleID is the name of the finding's rule, or the number, where it has no name.
func ruleID(f codecheck.Finding) string {
	if f.Rule == "" {
		return "unknown"
	}
	return f.Rule
}

func newRule(id string, f codecheck.Finding) *sarif.ReportingDescriptor {
	rule := sarif.NewRule(id)
	rule.DefaultConfiguration = sarif.NewReportingConfiguration()
	rule.DefaultConfiguration.Level = sarifLevel(f.Severity)
	if f.RuleID != "" && f.RuleID != id {
		rule.Properties = sarif.NewPropertyBag()
		rule.Properties.Properties["codeartsRuleId"] = f.RuleID
	}
	return rule
}

func newResult(id string, index int, f codecheck.Finding) *sarif.Result {
	result := sarif.NewRuleResult(id).WithRuleIndex(index)
	result.Level = sarifLevel(f.Severity)
	text := f.Message
	if text == "" {
		text = id
	}
	result.Message = sarif.NewTextMessage(text)
	result.PartialFingerprints = map[string]string{fingerprintName: f.Fingerprint}
	if f.Baseline != "" {
		result.BaselineState = new(string(f.Baseline))
	}
	result.Properties = sarif.NewPropertyBag()
	result.Properties.Properties["severity"], result.Properties.Properties["defectId"] = f.Severity, f.ID
	if uri := repositoryURI(f.Path); uri != "" {
		place := sarif.NewPhysicalLocation()
		place.ArtifactLocation = sarif.NewArtifactLocation()
		place.ArtifactLocation.URI = &uri
		if f.Line > 0 {
			place.Region = sarif.NewRegion()
			place.Region.StartLine = &f.Line
		}
		location := sarif.NewLocation()
		location.PhysicalLocation = place
		result.Locations = append(result.Locations, location)
	}
	return result
}

// sarifLevel is the severity in SARIF's words.
func sarifLevel(severity string) string {
	switch severity {
	case "critical", "major":
		return "error"
	case "minor":
		return "warning"
	}
	return "note"
}

// repositoryURI is a file's path as a URI that is relative to the repository; empty when it
// is not within it.
func repositoryURI(file string) string {
	file = strings.TrimLeft(path.Clean(strings.ReplaceAll(file, `\`, "/")), "/")
	if file == "" || file == "." || file == ".." || strings.HasPrefix(file, "../") {
		return ""
	}
	return (&url.URL{Path: file}).String()
}
