// Package rediswindow keeps windows in Redis, as logs of records: a batch's
// additions to all its windows and their earlier contents cross the network in
// one round trip, and the counting is done here, by the same code as in memory.
package rediswindow

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/wire"
)

//go:embed append.lua
var appendSource string

// keysPerCall is how many windows one script call serves: enough to spread the
// cost of a call, few enough not to hold Redis up. Measured best among 1, 16, 64 and 256.
const keysPerCall = 16

// Store is a window.Store in Redis.
type Store struct {
	client  redis.UniversalClient
	keys    wire.Keys
	script  *redis.Script
	perCall int
	ids     sync.Map // *window.Spec → its key's start and arguments
}

// New returns a store whose keys start with prefix. The client must not repeat commands on its
// own account only for the sake of speed: repeating is harmless here.
func New(client redis.UniversalClient, prefix string) *Store {
	perCall := keysPerCall
	if _, cluster := client.(*redis.ClusterClient); cluster {
		perCall = 1 // the keys of a script must lie in one slot
	}
	return &Store{client: client, keys: wire.Keys{Prefix: prefix}, script: redis.NewScript(appendSource), perCall: perCall}
}

var errReply = errors.New("unexpected reply")

// Apply implements window.Store in one round trip.
func (s *Store) Apply(ctx context.Context, ops []window.Op) ([]int, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	batch := window.Group(ops)
	calls := s.calls(batch)
	if err := s.run(ctx, calls); err != nil {
		return nil, fmt.Errorf("apply windows: %w", err)
	}
	counts := make([]int, len(ops))
	for i, w := range batch.Windows {
		log, err := calls[i/s.perCall].log(i % s.perCall)
		if err != nil {
			return nil, fmt.Errorf("apply windows: %w", err)
		}
		batch.Judge(w, window.Replay(w.Spec, log), counts)
	}
	return counts, nil
}

// A call is one run of the script and, afterwards, its reply.
type call struct {
	keys  []string
	args  []any
	reply *redis.Cmd
}

func (c *call) log(i int) (string, error) {
	logs, err := c.reply.Slice()
	if err != nil {
		return "", err
	}
	if len(logs) != len(c.keys) {
		return "", errReply
	}
	log, ok := logs[i].(string)
	if !ok {
		return "", errReply
	}
	return log, nil
}

func (s *Store) calls(batch *window.Batch) []*call {
	calls := make([]*call, 0, (len(batch.Windows)+s.perCall-1)/s.perCall)
	for i, w := range batch.Windows {
		if i%s.perCall == 0 {
			calls = append(calls, &call{keys: make([]string, 0, s.perCall), args: make([]any, 0, 4*s.perCall)})
		}
		c := calls[len(calls)-1]
		spec := s.spec(w.Spec)
		c.keys = append(c.keys, s.keys.Window(spec.id, w.Group))
		c.args = append(c.args, spec.ttl, spec.capacity, spec.latest, batch.Additions(w))
	}
	return calls
}

// run sends the calls in one pipeline. Calls that found the script missing are
// sent again with its text, which also loads it; the others are not repeated.
func (s *Store) run(ctx context.Context, calls []*call) error {
	send := func(missing []*call, with func(redis.Scripter, *call) *redis.Cmd) error {
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, c := range missing {
				c.reply = with(p, c)
			}
			return nil
		})
		return err
	}
	err := send(calls, func(p redis.Scripter, c *call) *redis.Cmd {
		return s.script.EvalSha(ctx, p, c.keys, c.args...)
	})
	if err == nil {
		return nil
	}
	var missing []*call
	for _, c := range calls {
		switch err := c.reply.Err(); {
		case err == nil:
		case strings.HasPrefix(err.Error(), "NOSCRIPT"):
			missing = append(missing, c)
		default:
			return err
		}
	}
	return send(missing, func(p redis.Scripter, c *call) *redis.Cmd {
		return s.script.Eval(ctx, p, c.keys, c.args...)
	})
}

// spec is what a window.Spec comes to in keys and arguments.
type spec struct{ id, ttl, capacity, latest string }

func (s *Store) spec(w *window.Spec) spec {
	if known, ok := s.ids.Load(w); ok {
		return known.(spec) //nolint:forcetypeassert // only specs are stored
	}
	made := spec{
		id:       w.ID(),
		ttl:      strconv.FormatInt(w.TTL().Milliseconds(), 10),
		capacity: strconv.Itoa(w.Capacity()),
		latest:   "0",
	}
	if w.Latest {
		made.latest = "1"
	}
	s.ids.Store(w, made)
	return made
}
