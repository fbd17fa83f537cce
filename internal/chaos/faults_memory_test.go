package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// evictions is where Redis publishes the keys that it evicts.
const evictions = "__keyevent@0__:evicted"

var errNoWarning = errors.New("detector check doesn't warn of allkeys-lru")

// memoryFault has Redis evict keys for lack of memory: some of them, or all, the stream included.
// What it evicts is lost, and known, since Redis publishes them.
func memoryFault() fault {
	return fault{name: "redis evicts keys", alone: true, do: func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
		evictedKeys := w.client().Subscribe(context.Background(), evictions)
		if _, err := evictedKeys.Receive(ctx); err != nil {
			return nil, err
		}
		limit, err := w.memoryLimit(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, setting := range [][2]string{{"notify-keyspace-events", "Ee"}, {"maxmemory-policy", "allkeys-lru"}, {"maxmemory", limit}} {
			if err := w.client().ConfigSet(ctx, setting[0], setting[1]).Err(); err != nil {
				return nil, err
			}
		}
		if out, _ := w.command("check"); !strings.Contains(out, "allkeys-lru") {
			return nil, fmt.Errorf("%w: %s", errNoWarning, out)
		}
		return func() error {
			err := w.keepAll(evictedKeys)
			if err == nil {
				w.endSome(r, syscall.SIGTERM) // a worker that starts copies permanent blocks to Redis at once
			}
			return err
		}, nil
	}}
}

// memoryLimit is how much memory Redis may use: less than it does, by a part of what is data, or
// less than it needs for itself.
func (w *world) memoryLimit(ctx context.Context, r *rand.Rand) (string, error) {
	if r.IntN(3) == 0 {
		return "100kb", nil
	}
	info, err := w.client().InfoMap(ctx, "memory").Result()
	if err != nil {
		return "", err
	}
	used, _ := strconv.Atoi(info["Memory"]["used_memory"])
	data, _ := strconv.Atoi(info["Memory"]["used_memory_dataset"])
	return strconv.Itoa(used - data*(10+r.IntN(60))/100), nil
}

// keepAll has Redis keep everything again, and notes what it evicted until then.
func (w *world) keepAll(evictedKeys *redis.PubSub) error {
	ctx := context.Background()
	const end = "that is all"
	var evicted []string
	note := func() {
		w.oracle.evict(evicted)
		if slices.Contains(evicted, enforcement) {
			w.seen.cursor = "0" // a new one may begin at an earlier time
		}
	}
	return w.losing(note, func() error {
		if err := w.client().ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
			return err
		}
		if err := w.client().ConfigSet(ctx, "maxmemory-policy", "noeviction").Err(); err != nil {
			return err
		}
		if err := w.client().Publish(ctx, evictions, end).Err(); err != nil {
			return err
		}
		for {
			m, err := evictedKeys.ReceiveMessage(ctx)
			if err != nil {
				return err
			}
			if m.Payload == end {
				break
			}
			evicted = append(evicted, m.Payload)
		}
		w.line.add("%d keys were evicted: %s", len(evicted), kinds(evicted))
		w.evicted += len(evicted)
		return evictedKeys.Close()
	})
}

// kinds counts keys by what they are for.
func kinds(keys []string) string {
	counts := map[string]int{}
	for _, key := range keys {
		kind, _, _ := strings.Cut(strings.TrimPrefix(key, prefix+":"), ":")
		counts[kind]++
	}
	return fmt.Sprint(counts)
}

// evict notes that Redis has evicted keys, and that nothing is evicted any more. What was published
// before and was in one of them is uncertain.
func (o *oracle) evict(keys []string) {
	for _, key := range keys {
		kind, rest, _ := strings.Cut(strings.TrimPrefix(key, prefix+":"), ":")
		switch {
		case key == stream:
			o.loseStream()
		case key == deadStream:
			for _, p := range o.poison {
				p.sure = false
			}
		case key == enforcement:
			for _, s := range o.scopes {
				s.unsure = !s.announced
			}
		case kind == "window", kind == "clears":
			_, addr, _ := strings.Cut(rest[strings.Index(rest, ":")+1:], ":")
			o.doubt("ip:" + addr)
		case kind == "block":
			o.doubt(rest)
		case kind == "unblocked": // the key is {prefix}:unblocked:{{key of the block}}
			name := strings.TrimPrefix(strings.Trim(rest, "{}"), prefix+":block:")
			if s := o.scopes[name]; s != nil && s.rule != "" {
				s.unblocked = false
				o.doubt(name)
			}
		}
	}
}

// doubt notes that what Redis had of a scope may be lost. Permanent blocks are in Postgres, if not
// under their keys.
func (o *oracle) doubt(name string) {
	s := o.scopes[name]
	switch {
	case s == nil:
	case s.rule == "":
		s.uncopied = true
	default:
		s.must, s.may, s.twice = false, true, true
		for _, f := range s.facts {
			f.sure = f.sure && f.clears && f.settled
		}
	}
}
