package notify_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/notify"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hostile has what targets could take for markup, mentions, headers or ends of lines, in every field.
const hostile = "a\r\nBcc: evil@example.com\r\n\r\n<!channel> <at user_id=\"all\">x</at> <@all> @all [x](javascript:1) *b* `c` & \u202e\u2028 \x00安"

func notices(n int) (list []notify.Notice) {
	for range n {
		list = append(list, notify.Notice{
			Event: notify.Failed, RecordKind: "release", RecordID: hostile, Connection: hostile, Repository: hostile, Branch: hostile, Commit: hostile, Pipeline: hostile, Reason: hostile,
			Link: "https://gatewright.example.com/releases/1", At: noon,
		})
	}
	return list
}

// received is a request as a receiver got it.
type received struct {
	header http.Header
	query  string
	body   []byte
}

// receiver answers with a status and a body.
func receiver(t *testing.T, status int, answer string) (url string, got *[]received) {
	t.Helper()
	got = &[]received{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = append(*got, received{r.Header, r.URL.RawQuery, body})
		if status >= 300 && status < 400 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/hook?token=hidden-token", got
}

func send(t *testing.T, target notify.Target, n int) error {
	t.Helper()
	sender := notify.NewSender()
	defer sender.Close()
	return sender.Send(t.Context(), target, notify.Message{ID: "msg_1", At: noon, Notices: notices(n)})
}

func sign(key []byte, text string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// TestWebhook verifies what a receiver of Standard Webhooks would.
func TestWebhook(t *testing.T) {
	key := []byte(strings.Repeat("k", 32))
	url, got := receiver(t, 200, "")
	target := notify.Target{Name: "x", Kind: notify.Webhook, URL: url, Secret: "whsec_" + base64.StdEncoding.EncodeToString(key)}
	for _, n := range []int{1, 3} {
		if err := send(t, target, n); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range *got {
		id, stamp := r.header.Get("webhook-id"), r.header.Get("webhook-timestamp")
		if id != "msg_1" || stamp != strconv.FormatInt(noon.Unix(), 10) {
			t.Errorf("id %q, timestamp %q", id, stamp)
		}
		if want := "v1," + sign(key, id+"."+stamp+"."+string(r.body)); r.header.Get("webhook-signature") != want {
			t.Errorf("signature %q, want %q", r.header.Get("webhook-signature"), want)
		}
		var body struct {
			Type string
			Data struct{ Notices []notify.Notice }
		}
		if err := json.Unmarshal(r.body, &body); err != nil || body.Type != []string{"failed", "summary"}[i] || len(body.Data.Notices) != []int{1, 3}[i] {
			t.Errorf("%v: %s", err, r.body)
		}
	}
	if len(*got) != 2 {
		t.Errorf("%d requests", len(*got))
	}
}

// TestRobots reads the bodies as the robots do, and finds neither markup nor mentions of others in them.
func TestRobots(t *testing.T) {
	for kind, answer := range map[notify.Kind]string{
		notify.DingTalk: `{"errcode":0,"errmsg":"ok"}`, notify.WeCom: `{"errcode":0,"errmsg":"ok"}`, notify.Feishu: `{"code":0,"msg":"success"}`, notify.Slack: "ok",
	} {
		t.Run(string(kind), func(t *testing.T) {
			url, got := receiver(t, 200, answer)
			for _, n := range []int{1, 40} {
				for _, lang := range []notify.Lang{notify.English, notify.Chinese} {
					if err := send(t, notify.Target{Name: "x", Kind: kind, URL: url, Secret: map[bool]string{true: "SEC1"}[kind == notify.DingTalk || kind == notify.Feishu], Lang: lang}, n); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, r := range *got {
				var body struct {
					Msgtype         string
					Msg_type        string
					Text            json.RawMessage
					Content         struct{ Text string }
					Timestamp, Sign string
					At, Link        any
				}
				if err := json.Unmarshal(r.body, &body); err != nil {
					t.Fatalf("%v: %s", err, r.body)
				}
				var text string
				var content struct{ Content string }
				switch kind {
				case notify.Slack:
					_ = json.Unmarshal(body.Text, &text)
				case notify.Feishu:
					text = body.Content.Text
					if body.Msg_type != "text" || body.Timestamp != strconv.FormatInt(noon.Unix(), 10) || body.Sign != sign([]byte(body.Timestamp+"\nSEC1"), "") {
						t.Errorf("body %s", r.body)
					}
				default:
					_ = json.Unmarshal(body.Text, &content)
					text = content.Content
					if body.Msgtype != "text" || body.At != nil {
						t.Errorf("body %s", r.body)
					}
				}
				if strings.ContainsAny(text, "<>\r\x00\u202e\u2028") || kind != notify.Slack && strings.Contains(text, "@") || strings.Contains(text, "\nBcc") {
					t.Errorf("text %q", text)
				}
				if want := []string{"Release failed", "发布失败"}[i%2]; !strings.Contains(text, want) || !strings.Contains(text, "安") {
					t.Errorf("text %q lacks %q", text, want)
				}
				if kind == notify.WeCom && len(text) > 2048 {
					t.Errorf("%d bytes", len(text))
				}
				if kind == notify.DingTalk {
					stamp := strconv.FormatInt(noon.UnixMilli(), 10)
					if q := "sign=" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(sign([]byte("SEC1"), stamp+"\nSEC1")) + "&timestamp=" + stamp + "&token=hidden-token"; r.query != q {
						t.Errorf("query %q, want %q", r.query, q)
					}
				}
			}
			if len(*got) != 4 {
				t.Errorf("%d requests", len(*got))
			}
		})
	}
}

// TestRefusals wants an error for whatever is no acceptance, without the address in it.
func TestRefusals(t *testing.T) {
	key := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24))
	for name, c := range map[string]struct {
		kind   notify.Kind
		status int
		answer string
		says   string
	}{
		"refused":          {notify.Webhook, 500, "no", "it answered 500"},
		"redirect":         {notify.Webhook, 302, "", "redirects are not followed"},
		"errcode":          {notify.DingTalk, 200, `{"errcode":310000,"errmsg":"sign not match\u0000\nhidden"}`, "310000: sign not match"},
		"errcode as text":  {notify.WeCom, 200, `{"errcode":"93000","errmsg":"invalid webhook url"}`, "93000"},
		"code":             {notify.Feishu, 200, `{"code":19021,"msg":"sign match fail"}`, "19021: sign match fail"},
		"no JSON":          {notify.WeCom, 200, `<html>`, "its answer is no JSON"},
		"no code":          {notify.DingTalk, 200, `{}`, "its answer has no code"},
		"huge":             {notify.DingTalk, 200, strings.Repeat(" ", 1<<20) + `{"errcode":0}`, "its answer is no JSON"},
		"message is a map": {notify.Feishu, 200, `{"code":1,"msg":{"a":1}}`, "with the code 1"},
	} {
		t.Run(name, func(t *testing.T) {
			url, got := receiver(t, c.status, c.answer)
			err := send(t, notify.Target{Name: "x", Kind: c.kind, URL: url, Secret: key}, 1)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hidden-token") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q", err, c.says)
			}
			if len(*got) != 1 {
				t.Errorf("%d requests", len(*got))
			}
		})
	}
	err := send(t, notify.Target{Name: "x", Kind: notify.Slack, URL: "http://127.0.0.1:1/hidden-token"}, 1)
	if err == nil || strings.Contains(err.Error(), "hidden-token") {
		t.Errorf("error %v", err)
	}
	if err := send(t, notify.Target{Name: "x", Kind: notify.Webhook, URL: "http://127.0.0.1:1/", Secret: "weak"}, 1); err == nil || strings.Contains(err.Error(), "weak") {
		t.Errorf("error %v", err)
	}
}

func TestWants(t *testing.T) {
	target := notify.Target{Events: []notify.Event{notify.Failed}, Hears: func(r string) bool { return r == "acme/api" }}
	for n, want := range map[notify.Notice]bool{
		{Event: notify.Failed, Repository: "acme/api"}: true, {Event: notify.Failed, Repository: "acme/shop"}: false,
		{Event: notify.Unknown, Repository: "acme/api"}: false, {Event: notify.Failed}: true,
	} {
		if target.Wants(n) != want {
			t.Errorf("%+v: %v", n, !want)
		}
	}
}

// mailServer is a mail server that takes one mail, with TLS or without. got receives it, with the login.
func mailServer(t *testing.T, mode string) (address string, roots *x509.CertPool, got chan string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	settings := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	got = make(chan string, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if mode == "implicit" {
				conn = tls.Server(conn, settings)
			}
			serveMail(conn, settings, mode, got)
		}
	}()
	return listener.Addr().String(), roots, got
}

func serveMail(conn net.Conn, settings *tls.Config, mode string, got chan string) {
	defer func() { conn.Close() }()
	encrypted, login, to := mode == "implicit", "", []string{}
	r := bufio.NewReader(conn)
	say := func(text string) { fmt.Fprint(conn, text+"\r\n") }
	say("220 test")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); strings.ToUpper(word) {
		case "EHLO":
			if mode == "starttls" && !encrypted {
				say("250-test\r\n250 STARTTLS")
			} else {
				say("250-test\r\n250 AUTH PLAIN")
			}
		case "STARTTLS":
			say("220 go")
			conn, encrypted = tls.Server(conn, settings), true
			r = bufio.NewReader(conn)
		case "AUTH":
			login = rest
			say("235 ok")
		case "RCPT":
			to = append(to, rest)
			say("250 ok")
		case "DATA":
			say("354 go")
			var data strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil || line == ".\r\n" {
					break
				}
				data.WriteString(line)
			}
			got <- fmt.Sprintf("%v %s %v\n%s", encrypted, login, to, data.String())
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// TestMail sends through a real connection, encrypted, and reads the mail as a program does.
func TestMail(t *testing.T) {
	for _, mode := range []string{"starttls", "implicit", "none"} {
		t.Run(mode, func(t *testing.T) {
			address, roots, got := mailServer(t, mode)
			host, port, _ := net.SplitHostPort(address)
			target := notify.Target{Name: "x", Kind: notify.Email, Lang: notify.Chinese, Mail: notify.Mail{
				Host: host, Port: port, From: "gatewright@example.com", To: []string{"a@example.com", "b@example.com"}, Username: "u", Password: "p", TLS: mode, Config: &tls.Config{RootCAs: roots},
			}}
			if err := send(t, target, 1); err != nil {
				t.Fatal(err)
			}
			envelope, text, _ := strings.Cut(<-got, "\n")
			if want := fmt.Sprintf("%v PLAIN %s [TO:<a@example.com> TO:<b@example.com>]", mode != "none", base64.StdEncoding.EncodeToString([]byte("\x00u\x00p"))); envelope != want {
				t.Errorf("envelope %q, want %q", envelope, want)
			}
			m, err := mail.ReadMessage(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Header) != 9 || m.Header.Get("Bcc") != "" {
				t.Errorf("headers %v", m.Header)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil || !strings.HasPrefix(subject, "Gatewright: 发布失败: a  Bcc: evil@example.com") {
				t.Errorf("subject %q, error %v", subject, err)
			}
			body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, m.Body))
			if err != nil || !strings.Contains(string(body), "仓库: a  Bcc: ") || m.Header.Get("Message-ID") != "<msg_1@gatewright>" {
				t.Errorf("body %q, error %v, headers %v", body, err, m.Header)
			}
		})
	}
	// A server without STARTTLS, and one with a certificate that nobody vouches for, get nothing.
	plain, _, _ := mailServer(t, "none")
	stranger, _, _ := mailServer(t, "starttls")
	for address, says := range map[string]string{plain: "offers no STARTTLS", stranger: "certificate"} {
		host, port, _ := net.SplitHostPort(address)
		err := send(t, notify.Target{Name: "x", Kind: notify.Email, Mail: notify.Mail{Host: host, Port: port, From: "a@example.com", To: []string{"b@example.com"}, TLS: "starttls"}}, 1)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
}
