package app

import (
	"context"
	"crypto/tls"
	"errors"
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

// newRemote makes the two clients of Huawei Cloud and what they share: the
// transport, the authentication and the metrics.
func newRemote(cfg *config.Config, memory codecheck.Memory, registry prometheus.Registerer, log *zap.Logger) (*codecheck.Checker, *release.Operator, error) {
	h := cfg.HuaweiCloud
	roots, err := h.RootCAs()
	if err != nil {
		return nil, nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport.IdleConnTimeout = 30 * time.Second
	transport.MaxIdleConnsPerHost = h.MaxConcurrent
	client := &http.Client{Transport: transport}
	metrics := huaweicloud.NewMetrics(registry)

	auth, projectID, err := newAuth(h, client, metrics, log)
	if err != nil {
		return nil, nil, err
	}
	service := func(name, endpoint string) (*huaweicloud.Client, error) {
		return huaweicloud.New(huaweicloud.Options{
			Service: name, Endpoint: endpoint, Auth: auth, HTTP: client, Timeout: h.Timeout,
			MaxConcurrent: h.MaxConcurrent, Log: log, LogFields: jobs.LogFields, Metrics: metrics,
		})
	}
	checkClient, err := service("codecheck", h.Endpoints.CodeCheck)
	if err != nil {
		return nil, nil, err
	}
	releaseClient, err := service("servicestage", h.Endpoints.ServiceStage)
	if err != nil {
		return nil, nil, err
	}
	checker, err := codecheck.New(codecheck.Options{
		Client:     checkClient,
		Memory:     memory,
		Dialect:    string(h.Dialect),
		RepoType:   repoType(cfg),
		DefaultRef: defaultRef(cfg),
		Poll:       codecheck.Interval{Min: h.Poll.Min, Max: h.Poll.Max},
		Log:        log,
		Metrics:    codecheck.NewMetrics(registry),
	})
	if err != nil {
		return nil, nil, err
	}
	operator, err := release.New(release.Options{
		Client:    releaseClient,
		ProjectID: projectID,
		Poll:      release.Poll{Min: h.ReleasePoll.Min, Max: h.ReleasePoll.Max},
	})
	if err != nil {
		return nil, nil, err
	}
	return checker, operator, nil
}

// newAuth makes what authorises the calls, and what knows the IAM project.
func newAuth(h config.HuaweiCloud, client *http.Client, metrics *huaweicloud.Metrics, log *zap.Logger) (huaweicloud.Authenticator, func(context.Context) (string, error), error) {
	configured := func(context.Context) (string, error) {
		if h.ProjectID == "" {
			return "", errors.New("find project id: write the IAM region project's id as huaweicloud.project_id")
		}
		return h.ProjectID, nil
	}
	if key := h.Auth.AccessKey; key != nil {
		signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{
			AccessKey: key.ID.Value(), SecretKey: key.Secret.Value(),
			SecurityToken: key.SecurityToken.Value(), ProjectID: key.ProjectID,
		})
		return signer, configured, err
	}
	password := h.Auth.Password
	tokens, err := huaweicloud.NewTokenSource(huaweicloud.TokenOptions{
		Endpoint: h.Endpoints.IAM, Domain: password.Domain, User: password.User, Password: password.Password.Value(),
		ProjectName: password.Project, HTTP: client, Timeout: h.Timeout, Log: log, Metrics: metrics,
	})
	if err != nil {
		return nil, nil, err
	}
	if h.ProjectID != "" {
		return tokens, configured, nil
	}
	return tokens, tokens.ProjectID, nil
}

// repoType says what CodeArts Check calls the host of a connection.
func repoType(cfg *config.Config) func(string) string {
	return func(connection string) string {
		c, _ := cfg.Connection(connection)
		return c.RepoType
	}
}
