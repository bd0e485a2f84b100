package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"strings"
	"time"
)

// Mail says how e-mail is sent.
type Mail struct {
	// Host and Port are those of the mail server.
	Host string
	Port string
	// From and To are addresses without names.
	From string
	To   []string
	// Username and Password log in, where they are given.
	Username, Password string
	// TLS is starttls, implicit or, on the loopback alone, none.
	TLS string
	// Config is for tests; nil for that of the system.
	Config *tls.Config
}

func (c Mail) send(ctx context.Context, l Lang, m Message) (err error) {
	settings := c.Config.Clone()
	if settings == nil {
		settings = &tls.Config{}
	}
	settings.ServerName, settings.MinVersion = c.Host, tls.VersionTLS12
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(c.Host, c.Port))
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a connection that cannot have one fails by itself
	}
	if c.TLS == "implicit" {
		conn = tls.Client(conn, settings)
	}
	client, err := smtp.NewClient(conn, c.Host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer client.Close()
	if c.TLS == "starttls" {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return errors.New("the mail server offers no STARTTLS, and nothing is sent in the clear")
		}
		if err := client.StartTLS(settings); err != nil {
			return fmt.Errorf("start TLS: %w", err)
		}
	}
	if c.Username != "" {
		if err := client.Auth(smtp.PlainAuth("", c.Username, c.Password, c.Host)); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
	}
	if err := client.Mail(c.From); err != nil {
		return err
	}
	for _, to := range c.To {
		if err := client.Rcpt(to); err != nil {
			return fmt.Errorf("recipient %s: %w", to, err)
		}
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(c.message(l, m)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	// It is taken. Whatever the server says to a farewell changes nothing.
	_ = client.Quit()
	return nil
}

// message is the mail with its headers. Texts from outside are in its body, in base64, and in the
// subject, encoded and in one line: they cannot add a header.
func (c Mail) message(l Lang, m Message) []byte {
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", c.From)
	header("To", strings.Join(c.To, ", "))
	header("Subject", mime.BEncoding.Encode("utf-8", oneLine(l.title(m))))
	header("Date", m.At.Format(time.RFC1123Z))
	header("Message-ID", "<"+m.ID+"@gatewright>")
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "base64")
	b.WriteString("\r\n")
	text := base64.StdEncoding.EncodeToString([]byte(strings.Join(l.lines(m), "\r\n") + "\r\n"))
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n")
	return b.Bytes()
}
