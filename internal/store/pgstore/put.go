package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	putsPerTx   = 256 // advisory locks are a shared and limited resource
	putAttempts = 5
)

var errConflict = errors.New("another program keeps changing the same blocks")

// Put implements [store.Blocks] with one transaction per batch. If Postgres refuses a block, the
// batch is written block by block, and the Result of the refused one has [store.ErrUnstorable].
func (b *Blocks) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	limits, err := b.columnLimits(ctx)
	if err != nil {
		return nil, fmt.Errorf("put blocks: %w", err)
	}
	results := make([]store.Result, len(puts))
	ready := make([]store.Put, 0, len(puts))
	at := make([]int, 0, len(puts)) // of ready in results
	now := b.now()
	for i, p := range puts {
		if p, err = prepare(p, limits, now); err != nil {
			results[i].Err = fmt.Errorf("put block: %w", err)
			continue
		}
		ready, at = append(ready, p), append(at, i)
	}
	for start := 0; start < len(ready); start += putsPerTx {
		part := ready[start:min(start+putsPerTx, len(ready))]
		stored, err := b.putPart(ctx, part)
		if err != nil {
			return nil, fmt.Errorf("put blocks: %w", err)
		}
		for i, r := range stored {
			results[at[start+i]] = r
		}
	}
	return results, nil
}

// putPart puts blocks in one transaction or, if one of them is refused, each in its own.
func (b *Blocks) putPart(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	results, err := b.putTogether(ctx, puts)
	if !errors.Is(err, store.ErrUnstorable) {
		return results, err
	}
	if len(puts) == 1 {
		return []store.Result{{Err: err}}, nil
	}
	results = make([]store.Result, len(puts))
	for i := range puts {
		one, err := b.putTogether(ctx, puts[i:i+1])
		switch {
		case errors.Is(err, store.ErrUnstorable):
			results[i].Err = err
		case err != nil:
			return nil, err
		default:
			results[i] = one[0]
		}
	}
	return results, nil
}

func (b *Blocks) putTogether(ctx context.Context, puts []store.Put) (results []store.Result, err error) {
	for range putAttempts {
		err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
			results, err = b.putTx(ctx, tx, puts)
			return err
		})
		if !errors.Is(err, errConflict) {
			break
		}
	}
	return results, classify(err)
}

// putTx decides the outcomes of puts while their scopes are locked, and writes the changes.
func (b *Blocks) putTx(ctx context.Context, tx pgx.Tx, puts []store.Put) ([]store.Result, error) {
	states, err := b.lockStates(ctx, tx, puts)
	if err != nil {
		return nil, err
	}
	now := b.now()
	results := make([]store.Result, len(puts))
	changed := map[checker.Scope]bool{}
	var lifted []checker.Scope
	for i, p := range puts {
		scope := p.Block.Scope
		before := states[scope]
		after, outcome := before.Decide(p, now)
		states[scope] = after
		results[i] = store.Result{Outcome: outcome, Block: after.Block}
		if writes(outcome, p, before, now) {
			changed[scope] = true
		}
		if p.EvidenceTime.IsZero() && outcome != store.Lapsed && !before.Tombstone.IsZero() {
			lifted = append(lifted, scope)
		}
	}
	return results, b.write(ctx, tx, states, changed, lifted)
}

// writes reports whether the row differs after a Put of this outcome.
func writes(outcome store.Outcome, p store.Put, before store.State, now time.Time) bool {
	switch {
	case outcome == store.Lapsed || outcome == store.Unblocked:
		return false
	case !before.Held(now) || p.Block.Stronger(before.Block):
		return true
	default:
		return p.EvidenceTime.IsZero() && p.Block.Permanent() && before.Block.Permanent()
	}
}

// lockStates locks the scopes and reads their states, in two statements: the second must see what
// was committed while the first waited.
func (b *Blocks) lockStates(ctx context.Context, tx pgx.Tx, puts []store.Put) (map[checker.Scope]store.State, error) {
	var scopes []checker.Scope
	states := make(map[checker.Scope]store.State, len(puts))
	for _, p := range puts {
		if _, ok := states[p.Block.Scope]; !ok {
			states[p.Block.Scope] = store.State{}
			scopes = append(scopes, p.Block.Scope)
		}
	}
	types, values := split(scopes)
	batch := &pgx.Batch{}
	b.lock(batch, scopes)
	batch.Queue(b.sql.state, types, values)
	sent := tx.SendBatch(ctx, batch)
	defer sent.Close() // an error shows in what is read below
	if _, err := sent.Exec(); err != nil {
		return nil, fmt.Errorf("lock scopes: %w", err)
	}
	rows, err := sent.Query()
	if err != nil {
		return nil, fmt.Errorf("read blocks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		scope, state, err := scanState(rows)
		if err != nil {
			return nil, fmt.Errorf("read blocks: %w", err)
		}
		states[scope] = state
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read blocks: %w", err)
	}
	return states, nil
}

// write writes the changed states and removes the tombstones of scopes that operators blocked.
func (b *Blocks) write(ctx context.Context, tx pgx.Tx, states map[checker.Scope]store.State, changed map[checker.Scope]bool, lifted []checker.Scope) error {
	if len(changed) > 0 {
		var rows rowSet
		for scope := range changed {
			if err := rows.add(states[scope]); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, b.sql.upsert, rows.args()...)
		if err != nil {
			return fmt.Errorf("write blocks: %w", err)
		}
		if tag.RowsAffected() != int64(len(changed)) {
			return errConflict
		}
	}
	if len(lifted) > 0 {
		types, values := split(lifted)
		if _, err := tx.Exec(ctx, b.sql.lift, types, values); err != nil {
			return fmt.Errorf("lift unblocks: %w", err)
		}
	}
	return nil
}

func split(scopes []checker.Scope) (types, values []string) {
	types, values = make([]string, len(scopes)), make([]string, len(scopes))
	for i, s := range scopes {
		types[i], values[i] = s.Type, s.Value
	}
	return types, values
}

// Lift removes the tombstones of scopes, as an operator's block does.
func (b *Blocks) Lift(ctx context.Context, scopes []checker.Scope) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	types, values := storableScopes(scopes)
	if len(types) == 0 {
		return nil
	}
	if _, err := b.pool.Exec(ctx, b.sql.lift, types, values); err != nil {
		return fmt.Errorf("lift unblocks: %w", b.explain("write", classify(err)))
	}
	return nil
}

// Unblock implements [store.Blocks]. The revoked row is the tombstone; without an active row it
// inserts a revoked one.
func (b *Blocks) Unblock(ctx context.Context, r store.Revocation) ([]checker.Block, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	limits, err := b.columnLimits(ctx)
	if err != nil {
		return nil, fmt.Errorf("unblock: %w", err)
	}
	if err := checkScope(r.Scope, limits); err != nil {
		return nil, nil // a scope that the table cannot hold is never blocked
	}
	now := b.now()
	r.At = r.Time(now).Truncate(time.Microsecond)
	r.By, r.Reason = clean(r.By, limits["revoked_by"]), clean(r.Reason, limits["revoked_reason"])
	var lifted []checker.Block
	err = pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		lifted, err = b.unblockTx(ctx, tx, r, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("unblock: %w", classify(err))
	}
	return lifted, nil
}

func (b *Blocks) unblockTx(ctx context.Context, tx pgx.Tx, r store.Revocation, now time.Time) ([]checker.Block, error) {
	batch := &pgx.Batch{}
	b.lock(batch, []checker.Scope{r.Scope})
	batch.Queue(b.sql.revoke, r.Scope.Type, r.Scope.Value, r.At, r.By, r.Reason)
	batch.Queue(b.sql.tombstone, r.Scope.Type, r.Scope.Value, r.At, r.By, r.Reason, wire.DefaultStatus)
	sent := tx.SendBatch(ctx, batch)
	defer sent.Close() // an error shows in what is read below
	if _, err := sent.Exec(); err != nil {
		return nil, fmt.Errorf("lock scope: %w", err)
	}
	rows, err := sent.Query()
	if err != nil {
		return nil, fmt.Errorf("revoke block: %w", err)
	}
	states, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("revoke block: %w", err)
	}
	if _, err := sent.Exec(); err != nil {
		return nil, fmt.Errorf("remember unblock: %w", err)
	}
	var lifted []checker.Block
	for _, s := range states {
		if s.Held(now) {
			lifted = append(lifted, s.Block)
		}
	}
	return lifted, nil
}

// classify wraps errors about the data itself in store.ErrUnstorable: SQLSTATE classes 22 and 23,
// and values too large for an index.
func classify(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 {
		return err
	}
	if class := pg.Code[:2]; class == "22" || class == "23" || pg.Code == "54000" {
		return fmt.Errorf("%w: %w", store.ErrUnstorable, err)
	}
	return err
}
