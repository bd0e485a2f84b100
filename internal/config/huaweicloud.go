package config

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
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

func (k *checker) huaweiCloud(h *HuaweiCloud) {
	const path = "huaweicloud"
	k.auth(path+".auth", h)
	k.endpoints(path, h)
	h.ca = k.caFile(path+".ca_file", &h.CAFile)
	k.id(path+".project_id", h.ProjectID)
	k.pipelines(path+".pipelines", h.Pipelines)
	if key := h.Auth.AccessKey; key != nil && h.ProjectID == "" {
		h.ProjectID = key.ProjectID
	}
	k.oneOf(path+".dialect", string(h.Dialect), string(Dialect2026), string(Dialect2023))
	k.oneOf(path+".capabilities.ref", h.Capabilities.Ref, "auto", "on", "off")
	k.oneOf(path+".capabilities.job_id", h.Capabilities.JobID, "auto", "on", "off")
	k.oneOf(path+".capabilities.create_v3", h.Capabilities.CreateV3, "auto", "on", "off")
	for i, pattern := range h.PullFailurePatterns {
		if _, err := regexp.Compile(pattern); err != nil {
			k.complain(fmt.Sprintf("%s.pull_failure_patterns[%d]", path, i), "is not a regular expression: "+err.Error(), "write it in the syntax of RE2")
		}
	}
	k.timeout(path+".timeout", h.Timeout)
	if h.MaxConcurrent < 1 {
		k.complain(path+".max_concurrent", "no call could be made", "write a number from 1 on, or leave it out")
	}
	k.poll(path+".poll", h.Poll)
	k.poll(path+".release_poll", h.ReleasePoll)
}

var (
	pipelineNamePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	pipelineIDPattern   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// pipelines checks the names of pipelines and their ids.
func (k *checker) pipelines(path string, pipelines Pipelines) {
	nameOf := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(pipelines)) {
		id := pipelines[name]
		at := path + "." + name
		switch other := nameOf[id]; {
		case !pipelineNamePattern.MatchString(name) || pipelineIDPattern.MatchString(name) || idPattern.MatchString(name):
			k.complain(fmt.Sprintf("%s[%q]", path, name), fmt.Sprintf("%q is not a name for a pipeline", name), "write lower-case letters, digits, - and _, at most 63, and not an id")
		case !pipelineIDPattern.MatchString(id):
			k.complain(at, fmt.Sprintf("%q is not a pipeline id", id), "write it with its dashes and in lower case, as caf409b1-10df-483a-b14d-7b05f7e12c88")
		case other != "":
			k.complain(at, fmt.Sprintf("pipeline %s has the name %q already", id, other), "keep one name for each pipeline")
		default:
			nameOf[id] = name
		}
	}
}

func (k *checker) auth(path string, h *HuaweiCloud) {
	const instead = "write either access_key: {id: …, secret: …} or password: {user: …, password: …, domain: …}"
	password, key := h.Auth.Password, h.Auth.AccessKey
	switch {
	case password == nil && key == nil:
		k.complain(path, "nothing says how calls to Huawei Cloud are authorised", instead)
		return
	case password != nil && key != nil:
		k.complain(path, "both a password and an access key are given", instead)
		return
	case key != nil:
		k.requiredSecret(path+".access_key.id", &key.ID)
		k.requiredSecret(path+".access_key.secret", &key.Secret)
		k.secret(path+".access_key.security_token", &key.SecurityToken)
		k.id(path+".access_key.project_id", key.ProjectID)
		return
	}
	if password.Project == "" {
		password.Project = h.Region
	}
	k.given(path+".password.user", password.User, "the user is missing", "write the name of an IAM user")
	k.requiredSecret(path+".password.password", &password.Password)
	k.given(path+".password.domain", password.Domain, "the domain is missing", "write the name of the account that the user belongs to")
	k.given(path+".password.project", password.Project, "neither a project nor a region is given",
		"write the name of the region's project, such as cn-north-4")
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
		{"iam", "iam", h.Auth.Password != nil, &h.Endpoints.IAM},
		{"codecheck", "codearts-check", true, &h.Endpoints.CodeCheck},
		{"servicestage", "servicestage", true, &h.Endpoints.ServiceStage},
	} {
		at := path + ".endpoints." + e.key
		switch {
		case *e.value != "":
			*e.value = k.endpoint(at, *e.value, h.InsecureHTTP)
		case h.Region != "":
			*e.value = "https://" + e.service + "." + h.Region + ".myhuaweicloud.com"
		case e.needed && !k.complained(path+".region"):
			k.complain(at, "neither this endpoint nor a region is given", "write huaweicloud.region, such as cn-north-4, or the endpoint's URL")
		}
	}
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
