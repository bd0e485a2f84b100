package app

import (
	"net"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/rules"
)

// NoticeTargets are those who get notices by the server file.
func NoticeTargets(cfg *config.Config) []notify.Target {
	targets := make([]notify.Target, 0, len(cfg.Notify))
	for _, n := range cfg.Notify {
		t := notify.Target{Name: n.Name, Kind: n.Kind, Events: n.Events, Lang: n.Lang, PerMinute: n.PerMinute, URL: n.URL.Value(), Secret: n.Secret.Value()}
		if len(n.Repositories) > 0 {
			// The patterns were checked when the file was loaded.
			heard := rules.NewRepositories(n.Repositories, func(int, string, string) {})
			t.Hears = func(repository string) bool {
				included, _ := heard.Include(repository)
				return included
			}
		}
		if e := n.Email; e != nil {
			host, port, _ := net.SplitHostPort(e.Server)
			t.Mail = notify.Mail{Host: host, Port: port, From: e.From, To: e.To, Username: e.Username, Password: e.Password.Value(), TLS: e.TLS}
		}
		targets = append(targets, t)
	}
	return targets
}
