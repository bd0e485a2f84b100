package jobs

import (
	"context"
	"encoding/json"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// wakingDriver is River's SQLite driver with a listener that is woken by this
// process itself. River's own looks into the database every 50 ms; but one process
// works on a SQLite file, so whoever inserts a job can tell at once.
type wakingDriver struct {
	*riversqlite.Driver
	bell *bell
}

// insertTopic is River's name of the news that a queue has new jobs.
const insertTopic = "river_insert"

// bell rings for queues that have new jobs.
type bell struct{ rung chan string }

func newBell() *bell { return &bell{rung: make(chan string, 64)} }

// ring tells that a queue has new jobs. A bell that has rung often enough already
// is not rung again: the fetch that follows finds all jobs.
func (b *bell) ring(queue string) {
	select {
	case b.rung <- queue:
	default:
	}
}

// GetListener returns River's listener with the bell beside it.
func (d *wakingDriver) GetListener(params *riverdriver.GetListenenerParams) riverdriver.Listener {
	return &wakingListener{Listener: d.Driver.GetListener(params), bell: d.bell}
}

type wakingListener struct {
	riverdriver.Listener
	bell *bell
	// kept is what River's listener heard at the moment that the bell rang.
	kept *riverdriver.Notification
}

// Connect says that it was cancelled when it was, also where the database says
// something else, because it is closed: River's notifier ends on nothing else.
func (l *wakingListener) Connect(ctx context.Context) error {
	err := l.Listener.Connect(ctx)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// WaitForNotification returns what comes first, the bell or what River's own
// listener hears.
func (l *wakingListener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	if kept := l.kept; kept != nil {
		l.kept = nil
		return kept, nil
	}
	type heard struct {
		notification *riverdriver.Notification
		err          error
	}
	listening, stop := context.WithCancel(ctx)
	defer stop()
	result := make(chan heard, 1)
	go func() {
		n, err := l.Listener.WaitForNotification(listening)
		result <- heard{n, err}
	}()
	select {
	case h := <-result:
		return h.notification, h.err
	case queue := <-l.bell.rung:
		stop()
		if h := <-result; h.err == nil {
			l.kept = h.notification
		}
		payload, err := json.Marshal(map[string]string{"queue": queue})
		return &riverdriver.Notification{Topic: insertTopic, Payload: string(payload)}, err
	}
}
