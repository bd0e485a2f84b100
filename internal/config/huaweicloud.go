package config

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// RootCAs returns the system's certificate authorities and those of CAFile; nil,
// which stands for the system's, when there is no CAFile.
func (h HuaweiCloud) RootCAs() (*x509.CertPool, error) { return rootCAs(h.ca) }

// rootCAs returns the system's certificate authorities and those of ca, in PEM form; nil
// when ca is empty.
func rootCAs(ca []byte) (*x509.CertPool, error) {
	if len(ca) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read system certificates: %w", err)
	}
	pool.AppendCertsFromPEM(ca)
	return pool, nil
}

// largestMaxFindings bounds the memory that the findings of one run take.
const largestMaxFindings = 20000

// largestMaxRuns is more than anybody has bought: a larger number is a mistake.
const largestMaxRuns = 10000

// accounts checks each account, and that no name of a pipeline stands for two.
func (k *checker) accounts(c *Config) {
	accountOf := map[string]string{} // by the name and by the id of a pipeline
	for _, name := range c.AccountNames() {
		if name != "" && (!namePattern.MatchString(name) || name == AccountPath("")) {
			k.complain(fmt.Sprintf("accounts[%q]", name), fmt.Sprintf("%q is not a name for an account", name), "write lower-case letters, digits and -, at most 63, and not huaweicloud")
			continue
		}
		path := AccountPath(name)
		account, _ := c.Account(name)
		k.huaweiCloud(path, account)
		for _, pipeline := range slices.Sorted(maps.Keys(account.Pipelines)) {
			id := account.Pipelines[pipeline]
			if other, found := accountOf[pipeline]; found {
				k.complain(path+".pipelines."+pipeline, fmt.Sprintf("%s has a pipeline %q already", AccountPath(other), pipeline), "give one of them another name")
			} else if other, found := accountOf[id]; found && other != name {
				k.complain(path+".pipelines."+pipeline, fmt.Sprintf("pipeline %s has a name in %s already", id, AccountPath(other)), "keep it in the account that it belongs to")
			}
			accountOf[pipeline], accountOf[id] = name, name
		}
	}
}

func (k *checker) huaweiCloud(path string, h *HuaweiCloud) {
	k.auth(path+".auth", h)
	k.endpoints(path, h)
	h.ca = k.caFile(path+".ca_file", &h.CAFile)
	if h.Proxy != "" {
		h.Proxy, _ = k.url(path+".proxy", h.Proxy)
	}
	k.id(path+".project_id", h.ProjectID)
	k.pipelines(path+".pipelines", h.Pipelines)
	if key := h.Auth.AccessKey; key != nil {
		if h.ProjectID == "" {
			h.ProjectID = key.ProjectID
		}
		if key.ProjectID == "" {
			key.ProjectID = h.ProjectID
		}
	}
	if h.Language != "" {
		k.oneOf(path+".language", h.Language, "zh-cn", "en-us")
	}
	k.oneOf(path+".dialect", string(h.Dialect), string(Dialect2026), string(Dialect2023))
	k.oneOf(path+".capabilities.ref", h.Capabilities.Ref, "auto", "on", "off")
	k.oneOf(path+".capabilities.job_id", h.Capabilities.JobID, "auto", "on", "off")
	k.oneOf(path+".capabilities.create_v3", h.Capabilities.CreateV3, "auto", "on", "off")
	k.oneOf(path+".capabilities.branch_tasks", h.Capabilities.BranchTasks, "auto", "on", "off")
	k.oneOf(path+".capabilities.check_times", h.Capabilities.CheckTimes, "auto", "on", "off")
	if len(h.AccessPassed) == 0 || slices.Contains(h.AccessPassed, "") {
		k.complain(path+".access_passed", "an empty is_access never means passed", `write literals such as ["1", "true"], or leave it out`)
	}
	if h.MaxFindings < 0 || h.MaxFindings > largestMaxFindings {
		k.complain(path+".max_findings", fmt.Sprintf("%d is not from 0 to %d", h.MaxFindings, largestMaxFindings), "write a number such as 5000, or 0 to read no findings")
	}
	if h.MaxRuns < 0 || h.MaxRuns > largestMaxRuns {
		k.complain(path+".max_runs", fmt.Sprintf("%d is not from 0 to %d", h.MaxRuns, largestMaxRuns), "write how many checks may run at the same time, or 0 for any number")
	}
	for i, pattern := range h.PullFailurePatterns {
		if _, err := regexp.Compile(pattern); err != nil {
			k.complain(fmt.Sprintf("%s.pull_failure_patterns[%d]", path, i), "is not a regular expression: "+err.Error(), "write it in the syntax of RE2")
		}
	}
	k.timeout(path+".timeout", h.Timeout)
	k.limit(path+".limits.codecheck", h.Limits.CodeCheck)
	k.limit(path+".limits.servicestage", h.Limits.ServiceStage)
	k.limit(path+".limits.pipeline", h.Limits.Pipeline)
	k.poll(path+".poll", h.Poll)
	k.poll(path+".release_poll", h.ReleasePoll)
}

var (
	pipelineNamePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	// The ids of ServiceStage, and those of CodeArts Pipeline.
	pipelineIDPattern = regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9A-Za-z]{32})$`)
)

// pipelines checks the names of pipelines and their ids.
func (k *checker) pipelines(path string, pipelines Pipelines) {
	nameOf := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		id := pipelines[name]
		at := path + "." + name
		switch other := nameOf[id]; {
		case !pipelineNamePattern.MatchString(name) || pipelineIDPattern.MatchString(name):
			k.complain(fmt.Sprintf("%s[%q]", path, name), fmt.Sprintf("%q is not a name for a pipeline", name), "write lower-case letters, digits, - and _, at most 63, and not an id")
		case !pipelineIDPattern.MatchString(id):
			k.complain(at, fmt.Sprintf("%q is not a pipeline id", id), "write it with its dashes and in lower case, as caf409b1-10df-483a-b14d-7b05f7e12c88, or the 32 letters and digits of one of CodeArts Pipeline")
		case other != "":
			k.complain(at, fmt.Sprintf("pipeline %s has the name %q already", id, other), "keep one name for each pipeline")
		default:
			nameOf[id] = name
		}
	}
}

func (k *checker) limit(path string, l Limit) {
	if l.AtOnce < 1 {
		k.complain(path+".at_once", "no call could be made", "write a number from 1 on, or leave it out")
	}
	if !(l.PerSecond == 0 || l.PerSecond >= 0.01 && l.PerSecond <= 10_000) {
		k.complain(path+".per_second", fmt.Sprintf("%v requests a second are too few or too many", l.PerSecond), "write a number from 0.01 to 10000, or leave it out for any number")
	}
}

// auth checks that exactly one thing authorises the calls.
func (k *checker) auth(path string, h *HuaweiCloud) {
	const instead = "write one of access_key: {id: …, secret: …}, password: {user: …, password: …, domain: …}, agency: {…} and token: {file: PATH}"
	a := &h.Auth
	switch given := a.given(); {
	case len(given) == 0:
		k.complain(path, "nothing says how calls to Huawei Cloud are authorised", instead)
	case len(given) > 1:
		k.complain(path, "calls are authorised in more than one way: "+strings.Join(given, " and "), instead)
	case a.AccessKey != nil:
		k.accessKey(path+".access_key", a.AccessKey)
	case a.Password != nil:
		k.password(path+".password", a.Password)
		k.project(path+".password.project", &a.Password.Project, h.Region)
	case a.Agency != nil:
		k.agency(path+".agency", a.Agency, h.Region)
	default:
		k.token(path+".token", &a.Token)
	}
}

// given returns the keys that stand in the file.
func (a Auth) given() []string {
	var given []string
	for _, way := range []struct {
		key string
		set bool
	}{{"access_key", a.AccessKey != nil}, {"password", a.Password != nil}, {"agency", a.Agency != nil}, {"token", a.Token.Set()}} {
		if way.set {
			given = append(given, way.key)
		}
	}
	return given
}

func (k *checker) accessKey(path string, key *AccessKeyAuth) {
	k.requiredSecret(path+".id", &key.ID)
	k.requiredSecret(path+".secret", &key.Secret)
	k.secret(path+".security_token", &key.SecurityToken)
	k.id(path+".project_id", key.ProjectID)
}

func (k *checker) password(path string, password *PasswordAuth) {
	k.given(path+".user", password.User, "the user is missing", "write the name of an IAM user")
	k.requiredSecret(path+".password", &password.Password)
	k.given(path+".domain", password.Domain, "the domain is missing", "write the name of the account that the user belongs to")
}

// project fills in the project of a token.
func (k *checker) project(path string, project *string, region string) {
	if *project == "" {
		*project = region
	}
	k.given(path, *project, "neither a project nor a region is given", "write the name of the region's project, such as cn-north-4")
}

func (k *checker) agency(path string, a *AgencyAuth, region string) {
	k.given(path+".name", a.Name, "the agency is missing", "write its name, as IAM of the delegating account shows it")
	k.given(path+".domain", a.Domain, "the domain is missing", "write the name of the account that delegates")
	k.project(path+".project", &a.Project, region)
	const instead = "write either password: {user: …, password: …, domain: …} or access_key: {id: …, secret: …} of a user with the right Agent Operator"
	switch {
	case a.Password == nil && a.AccessKey == nil:
		k.complain(path, "nothing says who acts by the agency", instead)
	case a.Password != nil && a.AccessKey != nil:
		k.complain(path, "both a password and an access key are given", instead)
	case a.AccessKey != nil:
		k.accessKey(path+".access_key", a.AccessKey)
		if a.AccessKey.ProjectID != "" {
			k.complain(path+".access_key.project_id", "it has no effect here: IAM is asked for the whole account", "leave it out; agency.project says what the token is for")
		}
	default:
		k.password(path+".password", a.Password)
		if a.Password.Project != "" {
			k.complain(path+".password.project", "it has no effect here: IAM is asked for the whole account", "leave it out; agency.project says what the token is for")
		}
	}
}

// token checks a token that something else renews, which no environment variable can tell.
func (k *checker) token(path string, token *Secret) {
	if token.from.Env != "" {
		k.complain(path, "a token lasts 24 hours at most, and a changed environment variable is not seen", "write token: {file: PATH} with a file that something else renews, or use another way")
		return
	}
	k.requiredSecret(path, token)
	if strings.ContainsFunc(token.Value(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		k.complain(path, "there is more than a token in this file", "write the value of X-Subject-Token into it and nothing else")
	}
}

// given complains when a mandatory text is empty.
func (k *checker) given(path, value, problem, instead string) {
	if value == "" {
		k.complain(path, problem, instead)
	}
}

// endpoints fills in the endpoints that the region stands for and checks those that
// are given.
func (k *checker) endpoints(path string, h *HuaweiCloud) {
	if h.Region != "" && !regionPattern.MatchString(h.Region) {
		k.complain(path+".region", fmt.Sprintf("%q is not a region", h.Region), "write its id, such as cn-north-4")
		return
	}
	for _, e := range []struct {
		key, service string
		needed       bool
		value        *string
	}{
		{"iam", "iam", h.Auth.UsesIAM(), &h.Endpoints.IAM},
		{"codecheck", "codearts-check", true, &h.Endpoints.CodeCheck},
		{"servicestage", "servicestage", true, &h.Endpoints.ServiceStage},
		{"pipeline", pipelineHost(h.Region), false, &h.Endpoints.Pipeline},
	} {
		at := path + ".endpoints." + e.key
		switch {
		case *e.value != "":
			*e.value = k.endpoint(at, *e.value, h.InsecureHTTP)
		case h.Region != "":
			*e.value = "https://" + e.service + "." + h.Region + ".myhuaweicloud.com"
		case e.needed && !k.complained(path+".region"):
			k.complain(at, "neither this endpoint nor a region is given", "write "+path+".region, such as cn-north-4, or the endpoint's URL")
		}
	}
}

// pipelineHost is the first part of the name of CodeArts Pipeline's host, which differs
// between regions (specs/codearts-check.md 6).
func pipelineHost(region string) string {
	switch region {
	case "tr-west-1", "la-south-2":
		return "pipeline-external"
	case "af-north-1", "me-east-1", "af-south-1":
		return "pipeline"
	}
	return "cloudpipeline-ext"
}

func (k *checker) endpoint(path, value string, insecure bool) string {
	value, u := k.url(path, value)
	if u != nil && !insecure && plainOffLoopback(u) {
		k.complain(path, "credentials would cross the network in the clear", "write https://, or insecure_http: true if that is what you want")
	}
	return value
}

func plainOffLoopback(u *url.URL) bool { return u.Scheme == "http" && !loopback(u.Hostname()) }

// id checks the optional id of an IAM project.
func (k *checker) id(path, value string) {
	if value != "" && !idPattern.MatchString(value) {
		k.complain(path, fmt.Sprintf("%q is not a project id", value), "write its 32 hex digits in lower case; the console shows them under My Credentials")
	}
}

func (k *checker) poll(path string, p Poll) {
	k.positive(path+".min", p.Min)
	k.positive(path+".max", p.Max)
	if p.Min > p.Max {
		k.complain(path, fmt.Sprintf("min, %v, is longer than max, %v", p.Min, p.Max), "write both, the shorter as min")
	}
}
