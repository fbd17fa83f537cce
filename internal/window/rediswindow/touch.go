package rediswindow

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
)

// A touch holds the commands of a batch for one window, and their replies.
type touch struct {
	window    window.Window
	spec      spec
	key       string
	clearsKey string
	added     []byte

	grown  *redis.IntCmd    // length of the log after adding; nil if nothing was added
	log    *redis.StringCmd // the log afterwards
	own    clearQuery       // of the batch's own tags, before the batch's own clears; of none if it does not clear
	others clearQuery       // of the tags of all other members, when confirming
	marker *redis.StringCmd // of the log, after others; nil if the window was not in doubt
	newest *redis.IntCmd    // of adding the batch's clears; nil if there are none
}

// touchAll adds the batch to its windows and reads them in one round trip.
func (s *Store) touchAll(ctx context.Context, batch *window.Batch) ([]touch, error) {
	touched := make([]touch, len(batch.Windows))
	var housekeeping maintenance
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		housekeeping = s.compact(ctx, p)
		for i, w := range batch.Windows {
			s.touch(ctx, p, batch, w, &touched[i])
		}
		return nil
	})
	if err = failure(err, touched, housekeeping); err != nil {
		return nil, err
	}
	s.finish(ctx, housekeeping)
	return touched, nil
}

// touch adds records to a window and reads it: APPEND and GETEX, which also renews the TTL; O(size
// of the log), about 2 µs in Redis. Clears are looked up where they may matter, see confirm. For a
// batch that has clears itself they are looked up before: afterwards an older clear could not be
// told from the batch's own, which does not affect the operations before it.
func (s *Store) touch(ctx context.Context, p redis.Pipeliner, batch *window.Batch, w window.Window, t *touch) {
	t.window, t.spec = w, s.spec(w.Spec)
	t.key, t.added = s.keys.Window(t.spec.id, w.Group), batch.Additions(w)
	if w.Spec.KeepsClears() {
		t.clearsKey = s.keys.WindowClears(t.spec.id, w.Group)
	}
	if len(t.added) == 0 {
		t.log = p.Get(ctx, t.key)
		return
	}
	t.grown = p.Append(ctx, t.key, string(t.added))
	t.log = p.GetEx(ctx, t.key, t.spec.ttl)
	clears, mixed := batch.Clears(w)
	if len(clears) == 0 {
		return
	}
	if mixed {
		t.own.ask(ctx, p, t.clearsKey, batch.Tags(w))
	}
	t.addClears(ctx, p, clears)
}

// addClears remembers the newest clear of each tag, O(log n) each; the set is trimmed when the log
// is compacted.
func (t *touch) addClears(ctx context.Context, p redis.Pipeliner, clears []window.Record) {
	added := make([]redis.Z, len(clears))
	for i, c := range clears {
		added[i] = redis.Z{Score: float64(c.At), Member: tagMember(c.Tag)}
	}
	t.newest = p.ZAddGT(ctx, t.clearsKey, added...)
	p.PExpire(ctx, t.clearsKey, t.spec.ttl)
}

// before returns the log without this batch's records. It includes records that other workers added
// since, as if they had been added first.
func (t *touch) before() string {
	log := t.log.Val()
	if t.grown == nil {
		return log
	}
	end := int(t.grown.Val())
	if len(log) < end { // compacted in between, ours included
		return log
	}
	return log[:end-len(t.added)]
}

// view returns the window before this batch, with its known clears.
func (t *touch) view() *window.View {
	var known window.Clears
	t.own.into(&known)
	t.others.into(&known)
	if t.marker != nil {
		known.Floor = window.LogMarker(t.marker.Val()).Floor
	}
	return window.Replay(t.window.Spec, t.before(), known)
}

// clearable reports whether a clear can remove any of the window's members, and sets which clears
// these are.
func (t *touch) clearable() bool {
	if t.clearsKey == "" {
		return false
	}
	t.others.tags = window.LogTags(t.window.Spec, t.before()+string(t.added), t.own.tags)
	return len(t.others.tags)+len(t.own.tags) > 0
}

// failure returns the error that makes the pipeline's replies unusable, or nil. A missing window
// and a failed compaction are not errors. If Redis refuses the connection, the pipeline has an
// error but its commands do not.
func failure(err error, touched []touch, housekeeping maintenance) error {
	if err == nil {
		return nil
	}
	for i := range touched {
		t := &touched[i]
		if t.grown != nil && t.grown.Err() != nil {
			return t.grown.Err()
		}
		if err := t.log.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if err := t.own.err(); err != nil {
			return err
		}
		if t.newest != nil && t.newest.Err() != nil {
			return t.newest.Err()
		}
	}
	if errors.Is(err, redis.Nil) || housekeeping.failed() {
		return nil
	}
	return err
}
