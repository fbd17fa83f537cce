package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A sighting is one enforcement event, and the block it speaks of while there is one.
type sighting struct {
	wire.Enforcement

	block checker.Block
}

// A watcher reads the stream of enforcement events, from every emitter: the
// worker, and an operator's commands in other processes.
type watcher struct {
	client *redis.Client
	stream string
	keys   rediskey.Keys
}

const (
	watchWait = 200 * time.Millisecond
	watchMost = 100
)

// watch reports every event from the beginning of the stream until ctx ends, and
// then of those that are there still.
func (w *watcher) watch(ctx context.Context, report func(context.Context, sighting) error) error {
	work := context.WithoutCancel(ctx)
	for after := "0-0"; ; {
		ending := ctx.Err() != nil
		entries, err := w.read(work, after, ending)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			after = entry.ID
			s, ok, err := w.sight(work, entry)
			if err == nil && ok {
				err = report(work, s)
			}
			if err != nil {
				return err
			}
		}
		if ending && len(entries) == 0 {
			return nil
		}
	}
}

// read returns entries after an ID. It waits a while for some, unless there is to be no waiting.
func (w *watcher) read(ctx context.Context, after string, atOnce bool) ([]redis.XMessage, error) {
	args := &redis.XReadArgs{Streams: []string{w.stream, after}, Count: watchMost, Block: watchWait}
	if atOnce {
		args.Block = -1
	}
	streams, err := w.client.XRead(ctx, args).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read enforcement events: %w", err)
	case len(streams) == 0:
		return nil, nil
	}
	return streams[0].Messages, nil
}

// sight decodes an entry and looks its block up. An entry that is not an enforcement
// event comes from elsewhere and is ignored.
func (w *watcher) sight(ctx context.Context, entry redis.XMessage) (s sighting, ok bool, err error) {
	text, _ := entry.Values["event"].(string)
	if s.Enforcement, _, err = wire.DecodeEnforcement([]byte(text)); err != nil {
		return s, false, nil //nolint:nilerr // see above
	}
	if s.Type != wire.TypeBlockApplied {
		return s, true, nil
	}
	value, err := w.client.Get(ctx, w.keys.Block(s.Scope)).Bytes()
	switch {
	case errors.Is(err, redis.Nil), err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE"):
		return s, true, nil
	case err != nil:
		return s, false, fmt.Errorf("read block: %w", err)
	}
	if block, err := wire.DecodeBlock(value); err == nil {
		s.block = block
	}
	return s, true, nil
}
