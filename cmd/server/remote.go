package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// sourceFlags say where a command reads and acts: in the database, or by the API of a server.
type sourceFlags struct {
	databaseFlags
	server, token, tokenFile, caFile string
}

// tokenVariable is the environment variable from which a token is taken.
const tokenVariable = "GATEWRIGHT_TOKEN"

func (f *sourceFlags) register(cmd *cobra.Command) {
	f.databaseFlags.register(cmd)
	cmd.Flags().StringVar(&f.server, "server", "", "the address of a server's API, such as https://gatewright.example.com:8081, in place of its database")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "with --server: a file that holds the token")
	cmd.Flags().StringVar(&f.token, "token", "", "with --server: env takes the token from "+tokenVariable+", which is the default without --token-file; env:NAME from another variable")
	cmd.Flags().StringVar(&f.caFile, "ca", "", "with --server: a file of certificates in PEM that the server's is checked by; default: those of the system")
}

// source is where a command reads and acts: one of the two is set.
type source struct {
	store  *store.Store
	remote *remote
}

func (s *source) close() {
	if s.store != nil {
		// It was read only.
		_ = s.store.Close()
	}
}

// open opens the database for reading, or makes ready to ask the server.
func (f *sourceFlags) open(cmd *cobra.Command, env command.Environment) (*source, error) {
	remote, err := f.remote(cmd, env)
	if err != nil || remote != nil {
		return &source{remote: remote}, err
	}
	s, err := f.databaseFlags.open(cmd.Context(), env)
	return &source{store: s}, err
}

// remote is the server that --server names; nil without it.
func (f *sourceFlags) remote(cmd *cobra.Command, env command.Environment) (*remote, error) {
	given := func(names ...string) string {
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				return name
			}
		}
		return ""
	}
	if f.server == "" {
		if name := given("token", "token-file", "ca"); name != "" {
			return nil, command.UsageError{Err: fmt.Errorf("--%s goes with --server", name)}
		}
		return nil, nil
	}
	if name := given("db", "config"); name != "" {
		return nil, command.UsageError{Err: fmt.Errorf("--%s goes without --server, which knows it itself", name)}
	}
	base, err := serverAddress(f.server)
	if err != nil {
		return nil, command.UsageError{Err: err}
	}
	token, err := f.readToken(env)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	if f.caFile != "" {
		pem, err := readFile(f.caFile, env.Stdin, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca %q: it holds no certificate in PEM", f.caFile)
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	return &remote{base: base, token: token, client: &http.Client{Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// serverAddress is the address below which the API is.
func serverAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("--server: write an address such as https://gatewright.example.com:8081, without a name, a password or a query")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("--server: write https://: over http:// the token could be read on the way; only an address of this machine may have http://")
	}
	return u.JoinPath(strings.TrimPrefix(api.Prefix, "/")), nil
}

// readToken reads the token; empty where none is given, for a server that wants none.
func (f *sourceFlags) readToken(env command.Environment) (string, error) {
	if f.tokenFile != "" && f.token != "" {
		return "", command.UsageError{Err: errors.New("give --token-file or --token")}
	}
	text, from := "", "--token-file"
	if f.tokenFile != "" {
		file, err := readFile(f.tokenFile, env.Stdin, 4096)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		text = string(file)
	} else {
		name, isVariable := tokenVariable, f.token == "env" || f.token == ""
		if other, found := strings.CutPrefix(f.token, "env:"); found && other != "" {
			name, isVariable = other, true
		}
		if !isVariable {
			return "", command.UsageError{Err: errors.New("--token: write env or env:NAME, or use --token-file: others could read a token on a command line")}
		}
		value, set := env.LookupEnv(name)
		if !set && f.token != "" {
			return "", fmt.Errorf("--token: the environment variable %s is not set", name)
		}
		text, from = value, name
	}
	text = strings.TrimSpace(text)
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: it does not hold one token", from)
	}
	return text, nil
}

// remote is the API of a server.
type remote struct {
	base   *url.URL
	token  string
	client *http.Client
}

// maxAnswer bounds an answer of the server, in bytes.
const maxAnswer = 256 << 20

// get asks for what has a path below the API, which may have a query.
func (r *remote) get(ctx context.Context, path string, into any) error {
	_, err := r.do(ctx, http.MethodGet, path, nil, "", into)
	return err
}

// do sends a request and reads its answer; version is what If-Match says, empty for none. It returns the ETag.
func (r *remote) do(ctx context.Context, method, path string, body any, version string, into any) (etag string, err error) {
	path, query, _ := strings.Cut(path, "?")
	target := r.base.JoinPath(path)
	target.RawQuery = query
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return "", fmt.Errorf("write request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if version != "" {
		request.Header.Set("If-Match", version)
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return "", r.unreachable(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return "", r.unreachable(err)
	case len(text) > maxAnswer:
		return "", errors.New("the answer of the server is too large: ask for less, for example by --limit")
	case answer.StatusCode != http.StatusOK:
		return "", r.refused(answer, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return "", fmt.Errorf("%s does not answer as gatewright does: is it the private address of the server, and the server of this version?", r.base.Host)
	}
	return answer.Header.Get("ETag"), nil
}

// unreachable says why there is no answer.
func (r *remote) unreachable(err error) error {
	var unverified *tls.CertificateVerificationError
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.As(err, &unverified) {
		return fmt.Errorf("the certificate of %s cannot be trusted: %w: name the authority that made it by --ca", r.base.Host, unverified.Err)
	}
	return fmt.Errorf("no answer from %s: %w: is --server its private address, and can it be reached from here?", r.base.Host, err)
}

// refused says why the server did not do what was asked.
func (r *remote) refused(answer *http.Response, text []byte) error {
	var problem struct {
		Code    string `json:"error"`
		Message string `json:"message"`
	}
	told := json.Unmarshal(text, &problem) == nil && problem.Message != ""
	message := escape.Line(problem.Message)
	switch status := answer.StatusCode; {
	case status >= 300 && status < 400:
		location, _ := url.Parse(answer.Header.Get("Location"))
		to := "another address"
		if location != nil && location.Host != "" {
			to = escape.Line(location.Scheme + "://" + location.Host)
		}
		return fmt.Errorf("%s sends on to %s: the token is not sent there; if that is the server, name it by --server", r.base.Host, to)
	case status == http.StatusUnauthorized && r.token == "":
		return fmt.Errorf("the server wants a token: give --token-file, or set %s", tokenVariable)
	case status == http.StatusUnauthorized:
		return errors.New("the server does not accept the token: it is wrong, revoked or has expired")
	case !told:
		return fmt.Errorf("%s answers %d and does not say why: is it the private address of gatewright?", r.base.Host, status)
	case status == http.StatusForbidden:
		return fmt.Errorf("forbidden: %s", message)
	default:
		return errors.New(message)
	}
}

// identify finds the record whose id begins with some digits.
func (r *remote) identify(ctx context.Context, digits string) (found api.Identified, err error) {
	return found, r.get(ctx, "records/"+url.PathEscape(digits), &found)
}

// show returns what source.show does.
func (r *remote) show(ctx context.Context, digits string, findings, asSARIF bool) (any, error) {
	found, err := r.identify(ctx, digits)
	if err != nil {
		return nil, err
	}
	if findings || asSARIF {
		if found.Kind != "run" {
			return nil, fmt.Errorf("%s is not a run", found.ID)
		}
		if asSARIF {
			var log json.RawMessage
			return log, r.get(ctx, "runs/"+found.ID+"/sarif", &log)
		}
		return r.findings(ctx, found.ID)
	}
	switch found.Kind {
	case "delivery":
		return getRecord[view.DeliveryDetail](ctx, r, "deliveries/"+found.ID)
	case "run":
		return getRecord[view.RunDetail](ctx, r, "runs/"+found.ID)
	}
	return getRecord[view.ReleaseDetail](ctx, r, "releases/"+found.ID)
}

func getRecord[V any](ctx context.Context, r *remote, path string) (any, error) {
	var record V
	err := r.get(ctx, path, &record)
	return record, err
}

// findings reads all findings of a run.
func (r *remote) findings(ctx context.Context, run string) (any, error) {
	found := view.Findings{RunID: run, Findings: []codecheck.Finding{}}
	cursor := ""
	for {
		var page api.FindingsPage
		if err := r.get(ctx, "runs/"+run+"/findings?"+url.Values{"cursor": {cursor}}.Encode(), &page); err != nil {
			return nil, err
		}
		found.FindingsState, found.Findings = page.FindingsState, append(found.Findings, page.Items...)
		if cursor = page.Next; cursor == "" {
			return found, nil
		}
	}
}

// order does something to a record of a kind, whose id begins with some digits, as it is now.
func (r *remote) order(ctx context.Context, kind, digits, action string, body any) (done view.Done, err error) {
	found, err := r.identify(ctx, digits)
	if err != nil {
		return done, err
	}
	if found.Kind != kind {
		return done, fmt.Errorf("%s is a %s and not a %s", found.ID, found.Kind, kind)
	}
	path := map[string]string{"delivery": "deliveries/", "run": "runs/", "release": "releases/"}[kind] + found.ID
	var record json.RawMessage
	version, err := r.do(ctx, http.MethodGet, path, nil, "", &record)
	if err != nil {
		return done, err
	}
	_, err = r.do(ctx, http.MethodPost, path+"/"+action, body, version, &done)
	return done, err
}
