package redislookup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// A reader answers questions in one round trip: on a single server by one MGET and one HMGET,
// otherwise by one GET per key, which go-redis groups by server and sends to all servers at the
// same time. For a Cluster see clusterReader.
type reader struct {
	client    redis.UniversalClient
	hash      string // key of the membership hash
	oneServer bool   // all keys live on one server
	trips     sync.Pool
}

// A trip holds the pooled buffers of a round trip. Arguments are pointers to strings, which
// go-redis accepts and which do not allocate as interface values.
type trip struct {
	pipe        redis.Pipeliner
	mget, hmget []any
}

// read fills in the replies of the questions.
func (r *reader) read(ctx context.Context, questions []*question) {
	t, ok := r.trips.Get().(*trip)
	if !ok {
		t = &trip{pipe: r.client.Pipeline()}
	}
	t.prepare(&r.hash, questions)
	var gets []*redis.StringCmd
	members, blocks := redis.NewSliceCmd(ctx, t.hmget...), redis.NewSliceCmd(ctx, t.mget...)
	if r.oneServer {
		_ = t.pipe.BatchProcess(ctx, members, blocks) // queues them; Exec has the errors
	} else {
		_ = t.pipe.Process(ctx, members)
		gets = getEach(ctx, t.pipe, questions)
	}
	_, execErr := t.pipe.Exec(ctx)
	if !r.oneServer {
		collect(gets, blocks)
	}
	deliver(questions, len(t.mget)-1, blocks, members, execErr)
	clear(t.mget)
	clear(t.hmget)
	r.trips.Put(t)
}

func (t *trip) prepare(hash *string, questions []*question) {
	t.mget, t.hmget = append(t.mget[:0], "mget"), append(t.hmget[:0], "hmget", hash)
	for _, q := range questions {
		for i := range q.keys {
			t.mget, t.hmget = append(t.mget, &q.keys[i]), append(t.hmget, &q.fields[i])
		}
	}
	t.hmget = append(t.hmget, rediskey.CompleteField)
}

// getEach queues a GET for each key.
func getEach(ctx context.Context, pipe redis.Pipeliner, questions []*question) []*redis.StringCmd {
	var gets []*redis.StringCmd
	for _, q := range questions {
		for _, key := range q.keys {
			gets = append(gets, pipe.Get(ctx, key))
		}
	}
	return gets
}

// collect turns the replies of GETs into the reply of an MGET.
func collect(gets []*redis.StringCmd, mget *redis.SliceCmd) {
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
	mget.SetVal(values)
	mget.SetErr(errors.Join(errs...))
}

// deliver gives each question its part of the n values of block keys and n+1 values of the
// membership hash.
func deliver(questions []*question, n int, blocks, members *redis.SliceCmd, execErr error) {
	blockValues, blocksErr := whole(blocks, n, execErr)
	memberValues, membersErr := whole(members, n+1, execErr)
	err := readError(blocksErr, membersErr)
	cold := len(memberValues) == n+1 && memberValues[n] == nil
	at := 0
	for _, q := range questions {
		end := at + len(q.keys)
		q.reply = reply{blocks: part(blockValues, at, end), members: part(memberValues, at, end), cold: cold, err: err}
		at = end
	}
}

// part returns values[from:to], or as much of it as exists.
func part(values []any, from, to int) []any {
	return values[min(from, len(values)):min(to, len(values))]
}

// readError combines the errors of block keys and membership hash. Equal errors, as of one failed
// connection, become one.
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

// errNoReply is the error of a command with neither an error nor a complete reply. go-redis leaves
// commands in that state if Redis refuses the connection; only Exec returns the reason.
var errNoReply = errors.New("no reply")

// whole returns the values of a command. If there are not exactly n it returns an error as well.
func whole(cmd *redis.SliceCmd, n int, execErr error) ([]any, error) {
	values, err := cmd.Result()
	if err == nil && len(values) != n {
		err = errNoReply
	}
	if errors.Is(err, errNoReply) && execErr != nil && !errors.Is(execErr, redis.Nil) {
		err = execErr
	}
	return values, err
}
