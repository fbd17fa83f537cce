package redislookup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A reply is what Redis said: for each scope the values of its block key and of
// its field in the membership hash, nil where there is none.
type reply struct {
	blocks  []any
	members []any // one more than scopes: the completeness mark
	err     error // what couldn't be read
}

// read asks Redis once: on one server by MGET and HMGET in a pipeline; elsewhere by a GET
// for each key, which go-redis sorts by server and sends to all of them at the same time.
func (l *Lookup) read(ctx context.Context, scopes []checker.Scope) reply {
	keys := make([]string, len(scopes))
	fields := make([]string, len(scopes)+1)
	for i, s := range scopes {
		keys[i], fields[i] = l.keys.Block(s), wire.MemberField(s)
	}
	fields[len(scopes)] = wire.CompleteField

	pipe := l.client.Pipeline()
	members := pipe.HMGet(ctx, l.keys.Permanent(), fields...)
	var blocks func() ([]any, error)
	if l.oneServer {
		blocks = pipe.MGet(ctx, keys...).Result
	} else {
		blocks = getEach(ctx, pipe, keys)
	}
	_, execErr := pipe.Exec(ctx)

	var r reply
	var blocksErr, membersErr error
	r.blocks, blocksErr = whole(blocks, len(keys), execErr)
	r.members, membersErr = whole(members.Result, len(fields), execErr)
	r.err = readError(blocksErr, membersErr)
	return r
}

// readError says what couldn't be read. One connection that fails is one error.
func readError(blocks, members error) error {
	switch {
	case blocks == nil && members == nil:
		return nil
	case blocks == nil:
		return fmt.Errorf("read membership hash: %w", members)
	case members == nil:
		return fmt.Errorf("read block keys: %w", blocks)
	case blocks.Error() == members.Error():
		return fmt.Errorf("read blocks: %w", blocks)
	}
	return fmt.Errorf("read block keys: %w; read membership hash: %w", blocks, members)
}

// errNoReply is the failure of a command that has neither an error nor a full
// reply. go-redis leaves commands so when Redis refuses their connection, and only Exec says why.
var errNoReply = errors.New("no reply")

// whole returns the values of a command if there are n, and those there are
// along with an error otherwise.
func whole(result func() ([]any, error), n int, execErr error) ([]any, error) {
	values, err := result()
	if err == nil && len(values) != n {
		err = errNoReply
	}
	if errors.Is(err, errNoReply) && execErr != nil && !errors.Is(execErr, redis.Nil) {
		err = execErr
	}
	return values, err
}

// getEach queues a GET for each key and returns what collects their values.
func getEach(ctx context.Context, pipe redis.Pipeliner, keys []string) func() ([]any, error) {
	gets := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		gets[i] = pipe.Get(ctx, key)
	}
	return func() ([]any, error) {
		values := make([]any, len(gets))
		var errs []error
		for i, get := range gets {
			value, err := get.Result()
			switch {
			case errors.Is(err, redis.Nil):
			case err != nil:
				errs = append(errs, err)
			case value == "": // no block either way
				errs = append(errs, errNoReply)
			default:
				values[i] = value
			}
		}
		return values, errors.Join(errs...)
	}
}

// cold reports that the membership hash was read and isn't complete.
func (r reply) cold() bool {
	return len(r.members) > 0 && r.members[len(r.members)-1] == nil
}

// block returns the stronger of the active blocks that the key and the field of
// scope i hold. One that can't be read is an error and doesn't hide the other.
func (r reply) block(keys wire.Keys, i int, scope checker.Scope, now time.Time) (b checker.Block, ok bool, err error) {
	if i < len(r.blocks) && r.blocks[i] != nil {
		if b, err = decodeBlock(r.blocks[i]); err != nil {
			b, err = checker.Block{}, fmt.Errorf("%w at key %q: %w", ErrCorrupt, keys.Block(scope), err)
		} else {
			b.Scope = scope // the key says what is blocked
			ok = b.ActiveAt(now)
		}
	}
	if i < len(r.members) && r.members[i] != nil {
		m, memberErr := decodeMember(scope, r.members[i])
		switch {
		case memberErr != nil:
			memberErr = fmt.Errorf("%w in field %q of %q: %w", ErrCorrupt, wire.MemberField(scope), keys.Permanent(), memberErr)
			err = errors.Join(err, memberErr)
		case m.ActiveAt(now) && (!ok || m.Stronger(b)):
			b, ok = m, true
		}
	}
	return b, ok, err
}

var errNoText = errors.New("no text")

func decodeBlock(v any) (checker.Block, error) {
	text, ok := v.(string)
	if !ok {
		return checker.Block{}, errNoText
	}
	return wire.DecodeBlock([]byte(text))
}

func decodeMember(scope checker.Scope, v any) (checker.Block, error) {
	text, ok := v.(string)
	if !ok {
		return checker.Block{}, errNoText
	}
	return wire.DecodeMember(scope, []byte(text))
}
