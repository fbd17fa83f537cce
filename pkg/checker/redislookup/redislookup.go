// Package redislookup is a [checker.Lookup] over Redis: one round trip for all
// scopes of a request, permanent blocks included, however many of those there are.
//
// It reads what detectors write: the block key of each scope, and each scope's field of
// the membership hash, which holds every active permanent block and a mark that says so.
// Without the mark, "not in it" is no answer; what then follows is a matter of [WithPermanentTier] and
// [WithColdLookup].
package redislookup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

var (
	// ErrCold is the failure of a look-up that found no complete membership hash where there
	// should be one: permanent blocks are unknown until a detector has written it.
	ErrCold = checker.NewError("cold", "the membership hash of permanent blocks is missing or incomplete")
	// ErrCorrupt is the failure of a look-up that found a value it can't read.
	ErrCorrupt = checker.NewError("corrupt", "corrupt block")
)

// A Lookup finds blocks in Redis. It is safe for concurrent use.
type Lookup struct {
	client    redis.UniversalClient
	keys      rediskey.Keys
	hash      string // key of the membership hash
	questions questions
	flights   flights
	permanent bool
	metadata  bool
	cold      checker.Lookup
	now       func() time.Time
}

// An Option changes how a [Lookup] reads.
type Option func(*Lookup)

// WithKeyPrefix sets the prefix of all keys, "wardstream" by default. It must be
// the detectors' key_prefix.
func WithKeyPrefix(prefix string) Option {
	return func(l *Lookup) {
		if prefix != "" {
			l.keys.Prefix = prefix
		}
	}
}

// WithPermanentTier says that the detectors keep permanent blocks in Postgres:
// a membership hash that is missing or incomplete is then the failure [ErrCold].
// Without it such a hash counts as empty, since detectors without Postgres never write one.
func WithPermanentTier() Option {
	return func(l *Lookup) { l.permanent = true }
}

// WithColdLookup has cold, usually a pglookup.Lookup, answer for the permanent
// blocks while the membership hash is missing or incomplete.
func WithColdLookup(cold checker.Lookup) Option {
	return func(l *Lookup) { l.cold = cold }
}

// WithMetadata has blocks come with their metadata, which a denial doesn't need and which is most of the work of
// reading one.
func WithMetadata() Option {
	return func(l *Lookup) { l.metadata = true }
}

// WithClock replaces time.Now as the clock by which blocks expire.
func WithClock(now func() time.Time) Option {
	return func(l *Lookup) { l.now = now }
}

// New returns a Lookup over client, whose owner closes it. The client should
// repeat nothing (MaxRetries -1) and have ContextTimeoutEnabled; [Connect] makes such a one.
func New(client redis.UniversalClient, opts ...Option) *Lookup {
	l := &Lookup{client: client, keys: rediskey.Keys{Prefix: rediskey.DefaultPrefix}, now: time.Now}
	for _, opt := range opts {
		opt(l)
	}
	l.hash = l.keys.Permanent()
	_, oneServer := client.(*redis.Client)
	l.flights.apart = !oneServer // a shared trip would fail, or wait, for the worst of a Cluster's servers
	if cluster, ok := client.(*redis.ClusterClient); ok {
		l.flights.ask = (&clusterReader{cluster: cluster, hash: l.hash}).read
	} else {
		l.flights.ask = (&reader{client: client, hash: l.hash, oneServer: oneServer}).read
	}
	return l
}

// HonoursDeadline reports whether Lookup returns by its context's deadline, with what it has found until then: with
// a plain or a Cluster client that has ContextTimeoutEnabled, and a cold look-up that does so too.
func (l *Lookup) HonoursDeadline() bool {
	if l.cold != nil {
		cold, ok := l.cold.(interface{ HonoursDeadline() bool })
		if !ok || !cold.HonoursDeadline() {
			return false
		}
	}
	switch client := l.client.(type) {
	case *redis.Client:
		return client.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return client.Options().ContextTimeoutEnabled
	}
	return false
}

// Lookup implements [checker.Lookup].
func (l *Lookup) Lookup(ctx context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	if len(scopes) == 0 {
		return nil, nil
	}
	q := l.questions.about(l.keys, scopes)
	if err := l.flights.fly(ctx, q); err != nil {
		return nil, err // of the context, as it is
	}
	defer l.questions.done(q)
	found, err := l.judge(q, scopes)
	if !q.reply.cold {
		return found, err
	}
	found, coldErr := l.askCold(ctx, scopes, found)
	return found, errors.Join(err, coldErr)
}

// askCold adds what is known of permanent blocks while the hash isn't complete.
func (l *Lookup) askCold(ctx context.Context, scopes []checker.Scope, found []checker.Block) ([]checker.Block, error) {
	if l.cold != nil {
		more, err := l.cold.Lookup(ctx, scopes)
		if err != nil {
			err = fmt.Errorf("look up permanent blocks: %w", err)
		}
		return merge(found, more), err
	}
	if l.permanent {
		return found, ErrCold
	}
	return found, nil
}

// merge adds blocks to found; of two on one scope the stronger stays.
func merge(found, more []checker.Block) []checker.Block {
	for _, b := range more {
		known := false
		for i := range found {
			if found[i].Scope == b.Scope {
				known = true
				if b.Stronger(found[i]) {
					found[i] = b
				}
			}
		}
		if !known {
			found = append(found, b)
		}
	}
	return found
}
