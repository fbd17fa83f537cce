package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// lossFaults make Redis lose data. What was published before is then uncertain, as far as it wasn't
// handled in an earlier round.
func lossFaults() []fault {
	return []fault{
		{name: "stream deleted", alone: true, do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			return nil, w.losing(w.oracle.loseStream, func() error { return w.client().Del(ctx, stream).Err() })
		}},
		{name: "redis flushed", alone: true, do: func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
			err := w.losing(w.loseRedis, func() error { return w.client().FlushAll(ctx).Err() })
			return w.hurry(r), err
		}},
		{name: "redis restarted empty", alone: true, do: func(_ context.Context, w *world, r *rand.Rand) (func() error, error) {
			err := w.losing(w.loseRedis, func() error {
				w.redis.Kill()
				err := os.RemoveAll(filepath.Join(w.redis.Dir, "appendonlydir"))
				w.redis.Restart()
				return err
			})
			return w.hurry(r), err
		}},
		{name: "trimmed past pending entries", alone: true, do: trim},
	}
}

// losing loses data while nothing is published, so that it is known what came before.
func (w *world) losing(note func(), lose func() error) error {
	w.publishing.Lock()
	defer w.publishing.Unlock()
	if err := lose(); err != nil {
		return err
	}
	note()
	w.staged = nil
	return nil
}

// loseRedis notes that Redis has lost everything, events of blocks included.
func (w *world) loseRedis() {
	w.oracle.loseRedis()
	w.seen = newSeen()
}

// hurry has a worker start anew, which copies permanent blocks to Redis at once; every fourth time
// they have to be copied in due time.
func (w *world) hurry(r *rand.Rand) func() error {
	if r.IntN(4) == 0 {
		return nil
	}
	return func() error {
		w.endSome(r, syscall.SIGTERM)
		return nil
	}
}

// trim makes entries pending for workers that die, and trims the stream past them and past entries
// that are not read yet. As they are not in flight, it is known how many are lost.
func trim(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
	tx, err := w.postgres.Pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(ctx, "LOCK TABLE permanent_blocks"); err != nil {
		return nil, err
	}
	wait(between(r, 100*time.Millisecond, time.Second))
	dead := w.running()
	for _, d := range dead {
		d.Signal(syscall.SIGKILL)
	}
	for _, d := range dead {
		<-d.Exited
	}
	wait(200 * time.Millisecond) // for something unread
	err = w.losing(w.oracle.loseStream, func() error { return w.trimSome(ctx, r) })
	for _, d := range dead {
		name := d.name
		if r.IntN(2) == 0 {
			name = w.newName()
		}
		w.replace(d, name)
	}
	return nil, err
}

// trimSome trims up to an unread entry, if there is any.
func (w *world) trimSome(ctx context.Context, r *rand.Rand) error {
	groups, err := w.client().XInfoGroups(ctx, stream).Result()
	if err != nil || len(groups) != 1 {
		return fmt.Errorf("%d groups: %w", len(groups), err)
	}
	unread, err := w.client().XRange(ctx, stream, "("+groups[0].LastDeliveredID, "+").Result()
	if err != nil {
		return err
	}
	pending, err := w.client().XPendingExt(ctx, &redis.XPendingExtArgs{Stream: stream, Group: group, Start: "-", End: "+", Count: 1 << 20}).Result()
	if err != nil {
		return err
	}
	lost := 0
	if len(unread) > 0 {
		lost = r.IntN(len(unread))
		err = w.client().XTrimMinID(ctx, stream, unread[lost].ID).Err()
	} else {
		err = w.client().XTrimMaxLen(ctx, stream, 0).Err()
	}
	w.line.add("%d pending and %d unread entries are lost", len(pending), lost)
	counts, countsErr := w.redisCounts(ctx)
	w.oracle.lost = losses{pending: len(pending), unread: lost}
	if !counts && lost > 0 {
		w.line.add("Redis has lost count since a worker last looked")
		w.oracle.lost = losses{pending: len(pending), unknown: 1}
	}
	return errors.Join(err, countsErr)
}

// redisCounts reports whether Redis' count of entries read is known to be right: since a worker
// last compared it there was no restart or failover, which falsify it. Where it isn't, it is
// unknown how many entries were trimmed unread.
func (w *world) redisCounts(ctx context.Context) (bool, error) {
	info, err := w.client().InfoMap(ctx, "replication").Result()
	if err != nil {
		return false, err
	}
	compared, err := w.client().Get(ctx, prefix+":counted:"+stream+":"+group).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return compared == info["Replication"]["master_replid"], err
}

// failOver has the replica promoted. It has all that was settled; what was acknowledged since may
// be lost.
func failOver(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
	return nil, w.losing(func() { w.oracle.loseStream(); w.seen = newSeen() }, func() error {
		w.sentinel.FailOver(w.t)
		w.redis = w.sentinel.Replica
		return w.client().Ping(ctx).Err()
	})
}
