package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
)

// Session is a login of a person, until it ends.
type Session struct {
	// Hash is of the secret that the browser has.
	Hash string
	// Identity, Name and Claims are what the login said: who, how they are shown, their groups.
	Identity, Name string
	Claims         []string
	// CreatedAt is when they logged in, UsedAt when a request came last.
	CreatedAt, UsedAt time.Time
}

// AddSession adds a login in the place of the one with the hash before, if there is one, and
// removes those that were begun before began or not used since idle.
func (s *Store) AddSession(ctx context.Context, session Session, before string, began, idle time.Time) error {
	claims, err := json.Marshal(session.Claims)
	if err == nil {
		err = s.Update(ctx, func(tx *Tx) error {
			if _, err := tx.exec(ctx, `DELETE FROM sessions WHERE hash = $1 OR created_at < $2 OR used_at < $3`, before, micros(began), micros(idle)); err != nil {
				return err
			}
			_, err := tx.exec(ctx, `INSERT INTO sessions (hash, identity, name, claims, created_at, used_at) VALUES ($1, $2, $3, $4, $5, $6)`,
				session.Hash, session.Identity, session.Name, string(claims), micros(session.CreatedAt), micros(session.UsedAt))
			if err != nil {
				return err
			}
			return tx.Audit(ctx, audit.Entry{Kind: audit.Login, Actor: session.Identity, Action: "login", Details: string(claims)})
		})
	}
	if err != nil {
		return fmt.Errorf("add session: %w", err)
	}
	return nil
}

// Session reads a login by its hash. The error wraps [ErrNotFound] when there is none.
func (s *Store) Session(ctx context.Context, hash string) (session Session, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		var claims string
		var created, used int64
		err := tx.queryRow(ctx, `SELECT hash, identity, name, claims, created_at, used_at FROM sessions WHERE hash = $1`, hash).
			Scan(&session.Hash, &session.Identity, &session.Name, &claims, &created, &used)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		session.CreatedAt, session.UsedAt = fromMicros(created), fromMicros(used)
		return json.Unmarshal([]byte(claims), &session.Claims)
	})
	if err != nil {
		return Session{}, fmt.Errorf("read session: %w", err)
	}
	return session, nil
}

// UseSession notes that a login was used. It does not bring back one that has ended.
func (s *Store) UseSession(ctx context.Context, hash string, at time.Time) error {
	return s.change(ctx, "use session", `UPDATE sessions SET used_at = $2 WHERE hash = $1 AND used_at < $2`, hash, micros(at))
}

// EndSession ends a login; it does nothing when there is none.
func (s *Store) EndSession(ctx context.Context, hash string) error {
	err := s.Update(ctx, func(tx *Tx) error {
		var identity string
		err := tx.queryRow(ctx, `DELETE FROM sessions WHERE hash = $1 RETURNING identity`, hash).Scan(&identity)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, audit.Entry{Kind: audit.Login, Actor: identity, Action: "logout"})
	})
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

func (s *Store) change(ctx context.Context, what, statement string, args ...any) error {
	err := s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, statement, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Token is what is known of a machine's token; never the token itself.
type Token struct {
	// ID is its public beginning, Hash of the whole.
	ID, Name, Role, Hash string
	CreatedAt            time.Time
	CreatedBy            string
	ExpiresAt            time.Time
	// RevokedAt is zero while it is not revoked, LastUsed before its first use.
	RevokedAt time.Time
	RevokedBy string
	LastUsed  time.Time
}

// ErrTokenExists is returned for a token whose name another has that is not revoked.
var ErrTokenExists = errors.New("there is a token of that name: revoke it first, or choose another name")

// AddToken adds a token. ErrTokenExists when there is one of its name that is not revoked.
func (s *Store) AddToken(ctx context.Context, t Token) error {
	err := s.Update(ctx, func(tx *Tx) error {
		added, err := tx.exec(ctx, `INSERT INTO tokens (id, name, role, hash, created_at, created_by, expires_at, revoked_at, revoked_by, last_used)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', 0) ON CONFLICT DO NOTHING`,
			t.ID, t.Name, t.Role, t.Hash, micros(t.CreatedAt), t.CreatedBy, micros(t.ExpiresAt))
		switch {
		case err != nil:
			return err
		case added == 0:
			return ErrTokenExists
		}
		return tx.Audit(ctx, audit.Entry{
			Kind: audit.Token, Actor: t.CreatedBy, Action: "create", RecordKind: "token", RecordID: t.ID,
			Details: fmt.Sprintf("%s, %s, until %s", t.Name, t.Role, t.ExpiresAt.UTC().Format(time.RFC3339)),
		})
	})
	if err != nil {
		return fmt.Errorf("add token %q: %w", t.Name, err)
	}
	return nil
}

// Tokens reads all tokens, also those that expired or were revoked, the newest first.
func (s *Store) Tokens(ctx context.Context) (tokens []Token, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		tokens, err = collect(ctx, tx, scanToken, `SELECT `+tokenColumns+` FROM tokens ORDER BY created_at DESC, id`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	return tokens, nil
}

// Token reads a token by its id. The error wraps [ErrNotFound] when there is none.
func (s *Store) Token(ctx context.Context, id string) (t Token, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		t, err = scanToken(tx.queryRow(ctx, `SELECT `+tokenColumns+` FROM tokens WHERE id = $1`, id))
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	return t, nil
}

// UseToken notes that a token was used.
func (s *Store) UseToken(ctx context.Context, id string, at time.Time) error {
	return s.change(ctx, "use token", `UPDATE tokens SET last_used = $2 WHERE id = $1 AND last_used < $2`, id, micros(at))
}

// RevokeToken revokes the token of a name. The error wraps [ErrNotFound] when there is none that
// is not revoked.
func (s *Store) RevokeToken(ctx context.Context, name, by string, at time.Time) error {
	err := s.Update(ctx, func(tx *Tx) error {
		var id string
		err := tx.queryRow(ctx, `UPDATE tokens SET revoked_at = $2, revoked_by = $3 WHERE name = $1 AND revoked_at = 0 RETURNING id`, name, micros(at), by).Scan(&id)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return err
		}
		return tx.Audit(ctx, audit.Entry{Kind: audit.Token, Actor: by, Action: "revoke", RecordKind: "token", RecordID: id, Details: name})
	})
	if err != nil {
		return fmt.Errorf("revoke token %q: %w", name, err)
	}
	return nil
}

const tokenColumns = `id, name, role, hash, created_at, created_by, expires_at, revoked_at, revoked_by, last_used`

func scanToken(row scanner) (t Token, err error) {
	var created, expires, revoked, used int64
	err = row.Scan(&t.ID, &t.Name, &t.Role, &t.Hash, &created, &t.CreatedBy, &expires, &revoked, &t.RevokedBy, &used)
	t.CreatedAt, t.ExpiresAt = fromMicros(created), fromMicros(expires)
	if revoked > 0 {
		t.RevokedAt = fromMicros(revoked)
	}
	if used > 0 {
		t.LastUsed = fromMicros(used)
	}
	return t, err
}
