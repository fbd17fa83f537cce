package chaos

import (
	"context"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"
)

// redisFaults are those of Redis that lose nothing.
func redisFaults() []fault {
	return []fault{
		{name: "redis killed, AOF always", do: func(_ context.Context, w *world, _ *rand.Rand) (func() error, error) {
			w.redis.Kill()
			return func() error { w.redis.Restart(); return nil }, nil
		}},
		{name: "redis restarted after a rewrite", do: restartInOrder},
		{name: "redis hangs", do: func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
			ms := between(r, 200*time.Millisecond, 4*time.Second).Milliseconds()
			return nil, w.client().Do(ctx, "CLIENT", "PAUSE", ms, "ALL").Err()
		}},
		{name: "redis scripts flushed", do: func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
			for range 1 + r.IntN(5) {
				if err := w.client().ScriptFlush(ctx).Err(); err != nil {
					return nil, err
				}
				wait(between(r, time.Millisecond, 50*time.Millisecond))
			}
			return nil, nil
		}},
		{name: "redis out of memory", do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			err := w.client().ConfigSet(ctx, "maxmemory", "100kb").Err()
			return func() error { return w.client().ConfigSet(context.Background(), "maxmemory", "0").Err() }, err
		}},
		{name: "redis read-only", do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			err := w.client().Do(ctx, "REPLICAOF", "127.0.0.1", strconv.Itoa(1)).Err()
			return func() error { return w.client().Do(context.Background(), "REPLICAOF", "NO", "ONE").Err() }, err
		}},
		{name: "redis connections killed", do: func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
			for range 1 + r.IntN(5) {
				if err := w.client().Do(ctx, "CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES").Err(); err != nil {
					return nil, err
				}
				wait(between(r, time.Millisecond, 100*time.Millisecond))
			}
			return nil, nil
		}},
		{name: "group destroyed", do: func(ctx context.Context, w *world, _ *rand.Rand) (func() error, error) {
			w.publishing.Lock()
			defer w.publishing.Unlock()
			w.oracle.replayed() // it is read from the start again, and nothing is lost
			return nil, w.client().XGroupDestroy(ctx, stream, group).Err()
		}},
	}
}

// restartInOrder has Redis rewrite its append-only file, end in order a while later, and start
// again. What is delivered after the rewrite is in the file without the count of entries read, so
// that Redis starts with the count of the rewrite. A worker starts then, too, which measures at
// once what it finds.
func restartInOrder(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
	if err := w.client().BgRewriteAOF(ctx).Err(); err != nil {
		return nil, err
	}
	for {
		info, err := w.client().InfoMap(ctx, "persistence").Result()
		if err != nil {
			return nil, err
		}
		if p := info["Persistence"]; p["aof_rewrite_in_progress"] == "0" && p["aof_rewrite_scheduled"] == "0" {
			break
		}
		wait(5 * time.Millisecond)
	}
	wait(between(r, 100*time.Millisecond, 800*time.Millisecond))
	w.line.add("Redis gets SIGTERM")
	w.redis.Shutdown()
	return func() error {
		w.redis.Restart()
		w.endSome(r, syscall.SIGTERM)
		return nil
	}, nil
}
