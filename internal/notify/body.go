package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Kind is a kind of target.
type Kind string

const (
	// Webhook is a signed webhook by Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks,
	// spec/standard-webhooks.md).
	Webhook Kind = "webhook"
	Email   Kind = "email"
	// DingTalk is a custom robot (open.dingtalk.com/document/group/custom-robot-access), WeCom a group robot
	// (developer.work.weixin.qq.com/document/path/91770), Feishu a custom bot
	// (open.feishu.cn/document/client-docs/bot-v3/add-custom-bot), Slack an incoming webhook
	// (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
	DingTalk Kind = "dingtalk"
	WeCom    Kind = "wecom"
	Feishu   Kind = "feishu"
	Slack    Kind = "slack"
)

// Limits of the texts, in bytes: WeCom takes 2048 in a text; the others take more than a person reads.
const (
	maxWeCom = 2048
	maxText  = 8000
)

// request makes the request that brings a message to a target by HTTP.
func (t Target) request(m Message) (*http.Request, error) {
	address, err := url.Parse(t.URL)
	if err != nil {
		return nil, errors.New("its address is no URL")
	}
	var body any
	header := http.Header{}
	switch t.Kind {
	case Webhook:
		return t.webhook(m)
	case DingTalk:
		body = map[string]any{"msgtype": "text", "text": map[string]string{"content": plain(t.Lang, m, maxText)}}
		if t.Secret != "" {
			query := address.Query()
			stamp := strconv.FormatInt(m.At.UnixMilli(), 10)
			query.Set("timestamp", stamp)
			query.Set("sign", mac([]byte(t.Secret), stamp+"\n"+t.Secret))
			address.RawQuery = query.Encode()
		}
	case WeCom:
		body = map[string]any{"msgtype": "text", "text": map[string]string{"content": plain(t.Lang, m, maxWeCom)}}
	case Feishu:
		content := map[string]any{"msg_type": "text", "content": map[string]string{"text": plain(t.Lang, m, maxText)}}
		if t.Secret != "" {
			stamp := strconv.FormatInt(m.At.Unix(), 10)
			content["timestamp"], content["sign"] = stamp, mac([]byte(stamp+"\n"+t.Secret), "")
		}
		body = content
	case Slack:
		body = map[string]any{"text": cutSlack(strings.Join(t.Lang.lines(m), "\n"))}
	default:
		return nil, fmt.Errorf("a target of the kind %q takes no HTTP", t.Kind)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return newRequest(address.String(), data, header)
}

func newRequest(address string, data []byte, header http.Header) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(string(data)))
	if err != nil {
		return nil, errors.New("its address is no URL")
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "gatewright")
	return r, nil
}

// plain is the message for targets whose texts know tags in angle brackets, such as those that call
// everybody: there are none in it.
func plain(l Lang, m Message, limit int) string {
	return cut(strings.NewReplacer("<", "＜", ">", "＞", "@", "＠").Replace(strings.Join(l.lines(m), "\n")), limit)
}

// cutSlack escapes what Slack's texts know: the control characters &, < and >, which also begin mentions
// (docs.slack.dev/messaging/formatting-message-text).
func cutSlack(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(cut(text, maxText))
}

func mac(key []byte, text string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// webhookBody is what a webhook tells.
type webhookBody struct {
	// Type is the event of the notice, or "summary" for several.
	Type      string      `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Data      webhookData `json:"data"`
}

type webhookData struct {
	Text    string   `json:"text"`
	Notices []Notice `json:"notices"`
}

// webhook signs the message as Standard Webhooks 1.0 says: by HMAC-SHA256 over id, time and body.
func (t Target) webhook(m Message) (*http.Request, error) {
	body := webhookBody{Type: "summary", Timestamp: m.At.UTC(), Data: webhookData{Text: strings.Join(t.Lang.lines(m), "\n"), Notices: m.Notices}}
	if len(m.Notices) == 1 {
		body.Type = string(m.Notices[0].Event)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	key, err := WebhookKey(t.Secret)
	if err != nil {
		return nil, err
	}
	stamp := strconv.FormatInt(m.At.Unix(), 10)
	header := http.Header{}
	header.Set("Webhook-Id", m.ID)
	header.Set("Webhook-Timestamp", stamp)
	header.Set("Webhook-Signature", "v1,"+mac(key, m.ID+"."+stamp+"."+string(data)))
	return newRequest(t.URL, data, header)
}

// WebhookKey reads the secret of a webhook: whsec_ and the base64 of 24 to 64 bytes.
func WebhookKey(secret string) ([]byte, error) {
	encoded, found := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("the secret of a webhook is whsec_ and the base64 of 24 to 64 random bytes")
	}
	return key, nil
}
