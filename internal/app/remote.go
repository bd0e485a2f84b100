package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
)

// remote is the clients of one account with the credentials that they share.
type remote struct {
	checker     *codecheck.Checker
	operator    *release.Operator
	credentials *huaweicloud.Credentials
	http        *http.Client
	// authenticator makes what authorizes the calls by the secrets of a configuration.
	authenticator func(config.Auth) (huaweicloud.Authenticator, error)
}

// rests is what the clients of Huawei Cloud rest on. All but memory may be zero.
type rests struct {
	memory codecheck.Memory
	// findings keeps what runs find; nil: none are read.
	findings codecheck.Findings
	// shared is what the replicas tell each other by; nil: nothing.
	shared huaweicloud.Shared
	// login is what [codecheck.Options] wants.
	login func(connection string) codecheck.Login
	// registry and log get metrics and messages; nil: none are kept.
	registry prometheus.Registerer
	log      *zap.Logger
}

// common is what the clients of all accounts share.
type common struct {
	rests
	cfg      *config.Config
	replicas *huaweicloud.Replicas
	metrics  *huaweicloud.Metrics
	checks   *codecheck.Metrics
}

// newRemote makes the clients of one account, with their transport and authentication.
func newRemote(h config.HuaweiCloud, on common) (*remote, error) {
	client, err := newHTTPClient(h)
	if err != nil {
		return nil, err
	}
	r := &remote{http: client, authenticator: func(auth config.Auth) (huaweicloud.Authenticator, error) {
		return newAuthenticator(auth, huaweicloud.TokenOptions{
			Endpoint: h.Endpoints.IAM, Replicas: on.replicas, HTTP: client, Timeout: h.Timeout, Log: on.log, Metrics: on.metrics,
		})
	}}
	auth, err := r.authenticator(h.Auth)
	if err != nil {
		return nil, err
	}
	r.credentials = huaweicloud.NewCredentials(auth, nil)
	service := func(name, endpoint, contentType string, limit config.Limit) (*huaweicloud.Client, error) {
		return huaweicloud.New(huaweicloud.Options{
			Service: name, Endpoint: endpoint, Auth: r.credentials, HTTP: client, Timeout: h.Timeout,
			Limit: huaweicloud.Limit(limit), Replicas: on.replicas, ContentType: contentType, Language: h.Language,
			Log: on.log, LogFields: jobs.LogFields, Metrics: on.metrics,
		})
	}
	// The content types are those of the documents.
	checkClient, err := service("codecheck", h.Endpoints.CodeCheck, "application/json;charset=UTF-8", h.Limits.CodeCheck)
	if err != nil {
		return nil, err
	}
	releaseClient, err := service("servicestage", h.Endpoints.ServiceStage, "application/json;charset=utf8", h.Limits.ServiceStage)
	if err != nil {
		return nil, err
	}
	var pipelineClient *huaweicloud.Client // there is an endpoint unless it was left out with the region
	if h.Endpoints.Pipeline != "" {
		if pipelineClient, err = service("pipeline", h.Endpoints.Pipeline, "application/json;charset=UTF-8", h.Limits.Pipeline); err != nil {
			return nil, err
		}
	}
	r.checker, err = codecheck.New(codecheck.Options{
		Client:   checkClient,
		Memory:   on.memory,
		Dialect:  string(h.Dialect),
		Ref:      codecheck.Capability(h.Capabilities.Ref),
		JobID:    codecheck.Capability(h.Capabilities.JobID),
		CreateV3: codecheck.Capability(h.Capabilities.CreateV3),

		BranchTasks:  codecheck.Capability(h.Capabilities.BranchTasks),
		CheckTimes:   codecheck.Capability(h.Capabilities.CheckTimes),
		AccessPassed: h.AccessPassed,
		Findings:     on.findings,
		MaxFindings:  cmp.Or(h.MaxFindings, -1),

		PullFailurePatterns: h.PullFailurePatterns,
		RepoType:            repoType(on.cfg),
		DefaultRef:          defaultRef(on.cfg),
		Login:               on.login,
		Poll:                codecheck.Interval{Min: h.Poll.Min, Max: h.Poll.Max},
		Log:                 on.log,
		Metrics:             on.checks,
	})
	if err != nil {
		return nil, err
	}
	r.operator, err = release.New(release.Options{
		Client:   releaseClient,
		Pipeline: pipelineClient,
		ProjectID: func(ctx context.Context) (string, error) {
			if h.ProjectID != "" {
				return h.ProjectID, nil
			}
			return r.credentials.ProjectID(ctx)
		},
		Poll: release.Poll{Min: h.ReleasePoll.Min, Max: h.ReleasePoll.Max},
	})
	return r, err
}

// newHTTPClient makes what carries the calls to all services.
func newHTTPClient(h config.HuaweiCloud) (*http.Client, error) {
	roots, err := h.RootCAs()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport.IdleConnTimeout = 30 * time.Second
	transport.MaxIdleConnsPerHost = max(h.Limits.CodeCheck.AtOnce, h.Limits.ServiceStage.AtOnce, h.Limits.Pipeline.AtOnce)
	if h.Proxy != "" {
		proxy, err := url.Parse(h.Proxy)
		if err != nil {
			return nil, fmt.Errorf("parse proxy of huaweicloud: %w", err)
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &http.Client{Transport: transport}, nil
}

// newAuthenticator makes what authorizes the calls. iam says how IAM is asked.
func newAuthenticator(auth config.Auth, iam huaweicloud.TokenOptions) (huaweicloud.Authenticator, error) {
	switch {
	case auth.AccessKey != nil:
		return newSigner(*auth.AccessKey, iam.Replicas)
	case auth.Password != nil:
		return newPasswordTokens(*auth.Password, iam)
	case auth.Agency == nil:
		return huaweicloud.NewGivenToken(auth.Token.Value(), nil)
	}
	agency := auth.Agency
	var err error
	delegated := iam
	delegated.Domain, delegated.Agency, delegated.ProjectName = agency.Domain, agency.Name, agency.Project
	if agency.AccessKey != nil {
		delegated.Delegate, err = newSigner(*agency.AccessKey, iam.Replicas)
	} else {
		iam.WholeAccount = true
		delegated.Delegate, err = newPasswordTokens(*agency.Password, iam)
	}
	if err != nil {
		return nil, err
	}
	return huaweicloud.NewTokenSource(delegated)
}

func newSigner(key config.AccessKeyAuth, replicas *huaweicloud.Replicas) (*huaweicloud.Signer, error) {
	return huaweicloud.NewSigner(huaweicloud.SignerOptions{
		AccessKey: key.ID.Value(), SecretKey: key.Secret.Value(), SecurityToken: key.SecurityToken.Value(),
		ProjectID: key.ProjectID, Replicas: replicas,
	})
}

func newPasswordTokens(password config.PasswordAuth, iam huaweicloud.TokenOptions) (*huaweicloud.TokenSource, error) {
	iam.Domain, iam.User, iam.Password, iam.ProjectName = password.Domain, password.User, password.Password.Value(), password.Project
	return huaweicloud.NewTokenSource(iam)
}

// repoType says what CodeArts Check calls the host of a connection.
func repoType(cfg *config.Config) func(string) string {
	return func(connection string) string {
		c, _ := cfg.Connection(connection)
		return c.RepoType
	}
}
