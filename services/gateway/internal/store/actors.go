package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/postgres"
)

type actorRow struct {
	ID      int64  `db:"id"`
	Version int64  `db:"version"`
	Name    string `db:"name"`
}

func (r actorRow) actor() catalogue.Actor { return catalogue.Actor(r) }

// CreateActor stores a new actor and returns it with its id.
func (s *Store) CreateActor(ctx context.Context, a catalogue.Actor) (catalogue.Actor, error) {
	const query = `
		INSERT INTO catalogue.actors (name)
		VALUES ($1)
		RETURNING id, version`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := s.db.QueryRowxContext(ctx, query, a.Name).Scan(&a.ID, &a.Version)
	if postgres.SQLState(err) == codeUnique {
		return a, catalogue.ActorExists(a.Name, err)
	}
	return a, translate("create actor", err)
}

// Actor returns one actor.
func (s *Store) Actor(ctx context.Context, id int64) (catalogue.Actor, error) {
	const query = `
		SELECT id, version, name
		FROM catalogue.actors
		WHERE id = $1`
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var row actorRow
	err := s.db.GetContext(ctx, &row, query, id)
	return row.actor(), translateEntry("read", kindActor, id, err)
}

// Actors lists the actors whose names contain part, by id. It ignores case.
func (s *Store) Actors(ctx context.Context, part string, p catalogue.Page) (catalogue.List[catalogue.Actor], error) {
	const query = `
		SELECT id, version, name
		FROM catalogue.actors
		WHERE lower(name) LIKE lower($1)
		ORDER BY id
		OFFSET $2
		LIMIT $3`
	var rows []actorRow
	err := s.selectList(ctx, "list actors", &rows, query, containing(part), p.Skip, p.Limit+1)
	return pageOf(rows, len(rows), p.Limit, actorRow.actor), err
}

// ActorTokens lists the tokens that name an actor, by id.
func (s *Store) ActorTokens(ctx context.Context, id int64, p catalogue.Page) (catalogue.List[catalogue.Token], error) {
	a, err := s.Actor(ctx, id)
	if err != nil {
		return catalogue.List[catalogue.Token]{}, err
	}
	return s.Tokens(ctx, catalogue.Filter{Actor: a.Name}, p)
}

// ReplaceActor renames the actor whose id is a.ID to a.Name, if the actor's version matches m, and
// changes the name on the actor's tokens too. It returns the actor with its new version.
func (s *Store) ReplaceActor(ctx context.Context, a catalogue.Actor, m catalogue.Match) (catalogue.Actor, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := postgres.Tx(ctx, s.db, func(tx *sqlx.Tx) error { return rename(ctx, tx, &a, m) })
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return a, noRowChanged(ctx, a.ID, s.Actor)
	case postgres.SQLState(err) == codeUnique:
		return a, catalogue.ActorExists(a.Name, err)
	default:
		return a, translateEntry("replace", kindActor, a.ID, err)
	}
}

func rename(ctx context.Context, tx *sqlx.Tx, a *catalogue.Actor, m catalogue.Match) error {
	const (
		before = `
			SELECT name
			FROM catalogue.actors
			WHERE id = $1
				AND ($2::bigint[] IS NULL OR version = ANY ($2))
			FOR UPDATE`
		own = `
			UPDATE catalogue.actors
			SET name = $2, version = version + 1, updated_at = now()
			WHERE id = $1
			RETURNING version`
		tokens = `
			UPDATE catalogue.tokens
			SET actor_name = $2, version = version + 1, updated_at = now()
			WHERE actor_name = $1
				AND actor_name <> $2`
	)
	var old string
	if err := tx.GetContext(ctx, &old, before, a.ID, pq.Int64Array(m)); err != nil {
		return err
	}
	if err := tx.GetContext(ctx, &a.Version, own, a.ID, a.Name); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, tokens, old, a.Name)
	return err
}

// DeleteActor removes an actor if its version matches m. The actor's tokens keep the name.
func (s *Store) DeleteActor(ctx context.Context, id int64, m catalogue.Match) error {
	const query = `
		DELETE FROM catalogue.actors
		WHERE id = $1
			AND ($2::bigint[] IS NULL OR version = ANY ($2))`
	return deleteEntry(ctx, s.db, query, kindActor, id, m, s.Actor)
}
