// Package redislookup is a [checker.Lookup] over Redis. It takes one round trip for all scopes of a
// request, permanent blocks included.
//
// It reads what detectors write: the block key of each scope, and the scope's field in the
// membership hash of permanent blocks. A detector adds a field to the hash that says it is
// complete. Without that field a scope missing from the hash may still be blocked;
// [WithPermanentTier] and [WithColdLookup] say what happens then.
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
	// ErrCold is returned if the membership hash is missing or incomplete although there is a
	// permanent tier: permanent blocks are unknown until a detector has written the hash.
	ErrCold = checker.NewError("cold", "the membership hash of permanent blocks is missing or incomplete")
	// ErrCorrupt is returned for a value in Redis that is not a valid block.
	ErrCorrupt = checker.NewError("corrupt", "corrupt block")
)

// A Lookup finds blocks in Redis. It is safe for concurrent use.
type Lookup struct {
	client    redis.UniversalClient
	keys      rediskey.Keys
	hash      string // key of the membership hash
	questions questions
	batcher   batcher
	permanent bool
	metadata  bool
	cold      checker.Lookup
	now       func() time.Time
}

// An Option configures a [Lookup].
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

// WithPermanentTier declares that the detectors keep permanent blocks in Postgres. A missing or
// incomplete membership hash is then the error [ErrCold]. Without the option such a hash counts as
// empty, since detectors without Postgres never write one.
func WithPermanentTier() Option {
	return func(l *Lookup) { l.permanent = true }
}

// WithColdLookup looks permanent blocks up in cold, usually a pglookup.Lookup, while the membership
// hash is missing or incomplete.
func WithColdLookup(cold checker.Lookup) Option {
	return func(l *Lookup) { l.cold = cold }
}

// WithMetadata decodes the metadata of blocks too. A denial does not need it, and it is most of the
// work of decoding a block.
func WithMetadata() Option {
	return func(l *Lookup) { l.metadata = true }
}

// WithClock replaces [time.Now] as the clock by which blocks expire.
func WithClock(now func() time.Time) Option {
	return func(l *Lookup) { l.now = now }
}

// New returns a Lookup over client. The caller closes the client, which should not retry
// (MaxRetries
// -1) and should have ContextTimeoutEnabled, like those that [Connect] makes.
func New(client redis.UniversalClient, opts ...Option) *Lookup {
	l := &Lookup{client: client, keys: rediskey.Keys{Prefix: rediskey.DefaultPrefix}, now: time.Now}
	for _, opt := range opts {
		opt(l)
	}
	l.hash = l.keys.Permanent()
	_, oneServer := client.(*redis.Client)
	l.batcher.separate = !oneServer // a shared round trip would be as slow as a Cluster's slowest server
	if cluster, ok := client.(*redis.ClusterClient); ok {
		l.batcher.ask = (&clusterReader{cluster: cluster, hash: l.hash}).read
	} else {
		l.batcher.ask = (&reader{client: client, hash: l.hash, oneServer: oneServer}).read
	}
	return l
}

// HonoursDeadline reports whether Lookup returns by its context's deadline, with what it has found
// by then. It does with a plain or Cluster client that has ContextTimeoutEnabled, if the cold
// look-up does too.
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
	if err := l.batcher.submit(ctx, q); err != nil {
		return nil, err // the context's error, unchanged
	}
	defer l.questions.done(q)
	found, err := l.judge(q, scopes)
	if !q.reply.cold {
		return found, err
	}
	found, coldErr := l.askCold(ctx, scopes, found)
	return found, errors.Join(err, coldErr)
}

// askCold adds permanent blocks while the membership hash is incomplete.
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

// merge adds blocks to found. Of two blocks of one scope it keeps the stronger.
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
