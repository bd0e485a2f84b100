package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/internal/webhook"
)

// deliver sends a push to main as a connection of the demo would, after replacing
// texts of its body, and returns the delivery when it has been decided.
func deliver(t *testing.T, d apptest.Service, host event.Host, variable, sha string, replace ...string) view.DeliveryDetail {
	t.Helper()
	body, err := d.World.Payload(host, "push", demo.Change{Branch: "main", Before: d.World.Parent, SHA: sha})
	if err != nil {
		t.Fatal(err)
	}
	body = []byte(strings.NewReplacer(replace...).Replace(string(body)))
	header := http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"push"}, "X-Gitee-Event": {"Push Hook"}}
	target, err := app.WebhookURL(d.Base(), string(host))
	if err != nil {
		t.Fatal(err)
	}
	sent := time.Now()
	connection := webhook.Connection{Name: string(host), Host: host, Secrets: []string{d.Secrets[variable]}}
	status, answer, err := app.Send(t.Context(), target, connection, header, body)
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("answered %d %s, error %v", status, answer, err)
	}
	r := d.Until(t, "the delivery is decided", func(r demo.Records) bool {
		return len(r.Deliveries) > 0 && r.Deliveries[len(r.Deliveries)-1].ReceivedAt.After(sent) && r.Decided()
	})
	return r.Deliveries[len(r.Deliveries)-1]
}

// TestForeignAddresses holds that a signed delivery cannot make Gatewright scan or
// release anything but a repository of its connection, under the addresses that the
// connection has for it.
func TestForeignAddresses(t *testing.T) { apptest.Each(t, demo.Options{}, testForeignAddresses) }

func testForeignAddresses(t *testing.T, d apptest.Service) {
	shop := `"https://github.com/acme/shop.git"`
	for _, address := range []string{
		"http://attacker.example/evil/steal.git", "http://169.254.169.254/latest/meta-data", "https://user:pw@github.com/acme/shop.git",
		"httpx://foo", "https://github.com/acme/depot.git",
	} {
		delivery := deliver(t, d, event.GitHub, "DEMO_GITHUB_SECRET", d.World.Clean, shop, `"`+address+`"`)
		if delivery.State != event.DeliveryFailed || !strings.Contains(delivery.Reason, `"acme/shop"`) || !strings.Contains(delivery.Reason, `"github"`) || strings.Contains(delivery.Reason, "pw@") {
			t.Errorf("%s: the delivery ended %s: %s", address, delivery.State, delivery.Reason)
		}
	}
	// A repository that has the name of another one in the payload.
	for _, host := range []struct {
		name     event.Host
		variable string
	}{{event.GitHub, "DEMO_GITHUB_SECRET"}, {event.Gitee, "DEMO_GITEE_SECRET"}} {
		delivery := deliver(t, d, host.name, host.variable, d.World.Clean, ".com/acme/shop", ".com/acme/depot")
		if delivery.State != event.DeliveryFailed || !strings.Contains(delivery.Reason, string(host.name)+`.com/acme/depot"`) {
			t.Errorf("depot named shop on %s: the delivery ended %s: %s", host.name, delivery.State, delivery.Reason)
		}
	}
	if r, err := d.Records(t.Context()); err != nil || len(r.Runs) != 0 {
		t.Errorf("%d runs, error %v", len(r.Runs), err)
	}
	if calls := d.Standin.Calls(); len(calls) != 0 {
		t.Errorf("Huawei Cloud was called: %+v", calls)
	}

	// The ssh address is nowhere used: the task is made for the connection's own.
	delivery := deliver(t, d, event.Gitee, "DEMO_GITEE_SECRET", d.World.Clean, "git@gitee.com:acme/shop.git", "git@gitee.com:acme/depot.git")
	if delivery.State != event.DeliveryDecided {
		t.Fatalf("the delivery ended %s: %s", delivery.State, delivery.Reason)
	}
	r := d.Until(t, "the run has ended", demo.Records.Ended)
	if len(r.Runs) != 1 || r.Runs[0].Task.URL != "https://gitee.com/acme/shop.git" {
		t.Errorf("runs: %+v", r.Runs)
	}
	if created := d.Standin.Counts().Acted["create_task_v3"]; created != 1 {
		t.Errorf("%d tasks were created", created)
	}
}
