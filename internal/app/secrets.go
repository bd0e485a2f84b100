package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

const (
	// secretUsesEvery is how often the uses of webhook secrets are saved: it takes days until one may go.
	secretUsesEvery = time.Minute
	// secretUsesTimeout bounds one saving.
	secretUsesTimeout = 10 * time.Second
)

// secretUses keeps in the database when each webhook secret was used, for gatewright hooks check and the next start.
type secretUses struct {
	store    *store.Store
	endpoint *webhook.Handler
	log      *zap.Logger
	// saved is what was saved of each, by connection and id.
	saved map[[2]string]time.Time
}

// restore tells the webhook endpoint what was saved before the start.
func (u *secretUses) restore(ctx context.Context) error {
	known, err := u.store.SecretUses(ctx)
	for _, use := range known {
		u.endpoint.KnowSecretUse(use.Connection, use.Secret, use.LastUsed)
	}
	return err
}

// run saves the uses until ctx is done, and once more then.
func (u *secretUses) run(ctx context.Context) {
	ticker := time.NewTicker(secretUsesEvery)
	defer ticker.Stop()
	for {
		u.save(context.WithoutCancel(ctx))
		select {
		case <-ticker.C:
		case <-ctx.Done():
			u.save(context.WithoutCancel(ctx))
			return
		}
	}
}

// save saves what is new. A failure is made up for by the next time.
func (u *secretUses) save(ctx context.Context) {
	var uses []store.SecretUse
	saved := map[[2]string]time.Time{}
	for _, use := range u.endpoint.SecretUses() {
		key := [2]string{use.Connection, use.ID}
		saved[key] = use.Last
		if last, known := u.saved[key]; !known || !last.Equal(use.Last) {
			uses = append(uses, store.SecretUse{Connection: use.Connection, Secret: use.ID, LastUsed: use.Last})
		}
	}
	if len(uses) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, secretUsesTimeout)
	defer cancel()
	if err := u.store.SaveSecretUses(ctx, uses); err != nil {
		u.log.Warn("saving the use of webhook secrets failed", zap.Error(err))
		return
	}
	u.saved = saved
}
