package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
)

// remote is the two clients of Huawei Cloud with the credentials that they share.
type remote struct {
	checker     *codecheck.Checker
	operator    *release.Operator
	credentials *huaweicloud.Credentials
	http        *http.Client
	// authenticator makes what authorizes the calls by the secrets of a configuration.
	authenticator func(config.Auth) (huaweicloud.Authenticator, error)
}

// newRemote makes the two clients of Huawei Cloud and what they share: the
// transport, the authentication and the metrics.
// findings may be nil: then none are read.
func newRemote(cfg *config.Config, memory codecheck.Memory, findings codecheck.Findings, registry prometheus.Registerer, log *zap.Logger) (*remote, error) {
	h := cfg.HuaweiCloud
	roots, err := h.RootCAs()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport.IdleConnTimeout = 30 * time.Second
	transport.MaxIdleConnsPerHost = h.MaxConcurrent
	client := &http.Client{Transport: transport}
	metrics := huaweicloud.NewMetrics(registry)

	r := &remote{http: client, authenticator: func(auth config.Auth) (huaweicloud.Authenticator, error) {
		return newAuthenticator(h, auth, client, metrics, log)
	}}
	auth, err := r.authenticator(h.Auth)
	if err != nil {
		return nil, err
	}
	r.credentials = huaweicloud.NewCredentials(auth, nil)
	service := func(name, endpoint string) (*huaweicloud.Client, error) {
		return huaweicloud.New(huaweicloud.Options{
			Service: name, Endpoint: endpoint, Auth: r.credentials, HTTP: client, Timeout: h.Timeout,
			MaxConcurrent: h.MaxConcurrent, Log: log, LogFields: jobs.LogFields, Metrics: metrics,
		})
	}
	checkClient, err := service("codecheck", h.Endpoints.CodeCheck)
	if err != nil {
		return nil, err
	}
	releaseClient, err := service("servicestage", h.Endpoints.ServiceStage)
	if err != nil {
		return nil, err
	}
	r.checker, err = codecheck.New(codecheck.Options{
		Client:   checkClient,
		Memory:   memory,
		Dialect:  string(h.Dialect),
		Ref:      codecheck.Capability(h.Capabilities.Ref),
		JobID:    codecheck.Capability(h.Capabilities.JobID),
		CreateV3: codecheck.Capability(h.Capabilities.CreateV3),

		CheckTimes:   codecheck.Capability(h.Capabilities.CheckTimes),
		AccessPassed: h.AccessPassed,
		Findings:     findings,
		MaxFindings:  cmp.Or(h.MaxFindings, -1),

		PullFailurePatterns: h.PullFailurePatterns,
		RepoType:            repoType(cfg),
		DefaultRef:          defaultRef(cfg),
		Poll:                codecheck.Interval{Min: h.Poll.Min, Max: h.Poll.Max},
		Log:                 log,
		Metrics:             codecheck.NewMetrics(registry),
	})
	if err != nil {
		return nil, err
	}
	r.operator, err = release.New(release.Options{
		Client: releaseClient,
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

// newAuthenticator makes what authorizes the calls.
func newAuthenticator(h config.HuaweiCloud, auth config.Auth, client *http.Client, metrics *huaweicloud.Metrics, log *zap.Logger) (huaweicloud.Authenticator, error) {
	if key := auth.AccessKey; key != nil {
		return huaweicloud.NewSigner(huaweicloud.SignerOptions{
			AccessKey: key.ID.Value(), SecretKey: key.Secret.Value(),
			SecurityToken: key.SecurityToken.Value(), ProjectID: key.ProjectID,
		})
	}
	password := auth.Password
	return huaweicloud.NewTokenSource(huaweicloud.TokenOptions{
		Endpoint: h.Endpoints.IAM, Domain: password.Domain, User: password.User, Password: password.Password.Value(),
		ProjectName: password.Project, HTTP: client, Timeout: h.Timeout, Log: log, Metrics: metrics,
	})
}

// repoType says what CodeArts Check calls the host of a connection.
func repoType(cfg *config.Config) func(string) string {
	return func(connection string) string {
		c, _ := cfg.Connection(connection)
		return c.RepoType
	}
}
