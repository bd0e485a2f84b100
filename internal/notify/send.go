package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Target is where notices go.
type Target struct {
	Name string
	Kind Kind
	// Events are those that it hears of, and Hears says of which repositories, by their full names; nil for
	// all of both.
	Events []Event
	Hears  func(repository string) bool
	Lang   Lang
	// PerMinute is how many messages it gets in a minute.
	PerMinute int
	// URL is the address of all kinds but e-mail, and a secret; Secret signs what is sent there, where
	// the kind knows that.
	URL, Secret string
	// Mail is that of the kind email.
	Mail Mail
}

// Wants reports whether a notice is for the target.
func (t Target) Wants(n Notice) bool {
	wanted := len(t.Events) == 0
	for _, e := range t.Events {
		wanted = wanted || e == n.Event
	}
	return wanted && (t.Hears == nil || n.Repository == "" || t.Hears(n.Repository))
}

const (
	// sendTimeout bounds one message.
	sendTimeout = 15 * time.Second
	// maxAnswer is how much of an answer is read.
	maxAnswer = 64 << 10
)

// Sender sends messages.
type Sender struct{ client *http.Client }

// NewSender makes a sender. It follows no redirect: a message goes to the configured host or nowhere.
func NewSender() *Sender {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = 1, 10*time.Second
	transport.MaxResponseHeaderBytes = maxAnswer
	return &Sender{client: &http.Client{
		Transport: transport, Timeout: sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes idle connections.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send brings a message to a target. Its errors show neither the address nor a secret.
func (s *Sender) Send(ctx context.Context, t Target, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	var err error
	if t.Kind == Email {
		err = t.Mail.send(ctx, t.Lang, m)
	} else {
		err = s.post(ctx, t, m)
	}
	if err != nil {
		return fmt.Errorf("send a notice to %q: %w", t.Name, err)
	}
	return nil
}

func (s *Sender) post(ctx context.Context, t Target, m Message) error {
	request, err := t.request(m)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request.WithContext(ctx))
	if err != nil {
		// The error of the client quotes the address.
		var quoting *url.Error
		if errors.As(err, &quoting) {
			err = quoting.Err
		}
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return fmt.Errorf("it answered %d, and redirects are not followed: write the address that it names", response.StatusCode)
	case response.StatusCode < 200 || response.StatusCode > 299:
		return fmt.Errorf("it answered %d", response.StatusCode)
	case err != nil:
		return fmt.Errorf("read its answer: %w", err)
	}
	return t.refused(body)
}

// refused reads what the robots say in an answer 200 that refuses: DingTalk and WeCom by errcode, Feishu by
// code.
func (t Target) refused(body []byte) error {
	if t.Kind != DingTalk && t.Kind != WeCom && t.Kind != Feishu {
		return nil
	}
	var answer struct {
		Errcode *json.Number `json:"errcode"`
		Errmsg  any          `json:"errmsg"`
		Code    *json.Number `json:"code"`
		Msg     any          `json:"msg"`
		Status  *json.Number `json:"StatusCode"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return errors.New("its answer is no JSON, so that it is not known whether it took the message")
	}
	code, text := answer.Errcode, answer.Errmsg
	if t.Kind == Feishu {
		code, text = answer.Code, answer.Msg
		if code == nil {
			code = answer.Status
		}
	}
	if code == nil {
		return errors.New("its answer has no code, so that it is not known whether it took the message")
	}
	if code.String() != "0" {
		said, _ := text.(string)
		// An answer may quote what was sent, with its address.
		for _, secret := range []string{t.URL, t.Secret} {
			if secret != "" {
				said = strings.ReplaceAll(said, secret, "<secret>")
			}
		}
		return fmt.Errorf("it refused the message with the code %s: %s", code, oneLine(said))
	}
	return nil
}
