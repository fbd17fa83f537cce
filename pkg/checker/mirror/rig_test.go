package mirror

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

const soon = 30 * time.Second // on a busy machine

// A rig is a store that writes, a mirror that follows, and a look-up to compare it with.
type rig struct {
	t      testing.TB
	client redis.UniversalClient
	keys   rediskey.Keys
	blocks *redisstore.Blocks
	mirror *Mirror
	remote *redislookup.Lookup
	wires  *wires
	states states
}

// newRig runs a mirror of what is written through client, by a client of its own.
func newRig(t testing.TB, client redis.UniversalClient, prefix string, opts ...Option) *rig {
	t.Helper()
	r := &rig{t: t, client: client, keys: rediskey.Keys{Prefix: prefix}, wires: &wires{}}
	blocks, err := redisstore.NewBlocks(client, redisstore.BlockOptions{Prefix: prefix})
	r.must(err)
	r.blocks = blocks
	opts = append([]Option{WithKeyPrefix(prefix), WithReconcile(time.Hour), WithOnState(r.states.add)}, opts...)
	r.mirror = New(r.connect(client), opts...)
	r.remote = redislookup.New(client, redislookup.WithKeyPrefix(prefix))
	return r
}

// run has the mirror run until the test, or the returned function, ends it.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.mirror.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		r.wires.cut()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// running is a rig on the shared server whose mirror follows.
func running(t testing.TB, opts ...Option) *rig {
	t.Helper()
	env := testenv.Redis(t)
	r := newRig(t, env.Client, env.Prefix, opts...)
	r.run()
	r.becomes(Following)
	return r
}

// connect makes a client of the server or cluster of another whose connections can be cut.
func (r *rig) connect(client redis.UniversalClient) redis.UniversalClient {
	var mine redis.UniversalClient
	switch c := client.(type) {
	case *redis.Client:
		r.wires.to.Store(&c.Options().Addr)
		mine = redis.NewClient(&redis.Options{
			Addr: "server", Dialer: r.wires.dial, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, ReadTimeout: time.Second,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	case *redis.ClusterClient:
		mine = redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Options().Addrs, Dialer: r.wires.dial, MaxRedirects: 8, ContextTimeoutEnabled: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
	default:
		r.t.Fatalf("a %T", client)
	}
	r.t.Cleanup(func() { _ = mine.Close() })
	return mine
}

// wires are the connections of a client.
type wires struct {
	to   atomic.Pointer[string] // where all of them go; nil: where they are meant to
	mu   sync.Mutex
	open []net.Conn
}

func (w *wires) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if to := w.to.Load(); to != nil {
		addr = *to
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
	if err == nil {
		w.mu.Lock()
		w.open = append(w.open, conn)
		w.mu.Unlock()
	}
	return conn, err
}

// cut ends all connections.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

// states are what a mirror said of itself.
type states struct {
	mu   sync.Mutex
	said []string
}

func (s *states) add(state State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf("%s: %v", state, err))
}

func (s *states) heard(text string) bool {
	return slices.ContainsFunc(s.all(), func(line string) bool { return strings.Contains(line, text) })
}

func (s *states) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) becomes(want State) {
	r.t.Helper()
	testenv.Eventually(r.t, soon, func() error {
		if s := r.mirror.Status(); s.State != want {
			return fmt.Errorf("the mirror is %s, want %s (%q)", s.State, want, r.states.all())
		}
		return nil
	})
}

func scopeOf(typ, value string) checker.Scope { return checker.Scope{Type: typ, Value: value} }
func user(value string) checker.Scope         { return scopeOf(checker.ScopeUser, value) }
func ip(value string) checker.Scope           { return scopeOf(checker.ScopeIP, value) }

// put blocks scopes, for a time or (0) for good, and returns the puts.
func (r *rig) put(ttl time.Duration, scopes ...checker.Scope) []store.Put {
	r.t.Helper()
	all := puts(scopes...)
	for i := range all {
		if ttl > 0 {
			all[i].Block.ExpiresAt = all[i].Block.CreatedAt.Add(ttl)
		}
	}
	_, err := r.blocks.Put(context.Background(), all)
	r.must(err)
	return all
}

// puts are operators' wishes to block scopes for good.
func puts(scopes ...checker.Scope) []store.Put {
	all := make([]store.Put, len(scopes))
	for i, s := range scopes {
		all[i].Block = checker.Block{
			ID: fmt.Sprintf("%x", maphash.String(seed, s.Value)), Scope: s, Rule: "r", Reason: "because", StatusCode: 403, Message: "m", CreatedAt: time.Now().UTC(),
		}
	}
	return all
}

var seed = maphash.MakeSeed()

func (r *rig) unblock(s checker.Scope) {
	r.t.Helper()
	_, err := r.blocks.Unblock(context.Background(), store.Revocation{Scope: s, At: time.Now()})
	r.must(err)
}

// raw writes a block key behind the mirror's back.
func (r *rig) raw(s checker.Scope, value string) {
	r.t.Helper()
	r.must(r.client.Set(context.Background(), r.keys.Block(s), value, time.Hour).Err())
}

// announceAll announces scopes without changing their blocks, as a put that comes again does.
func (r *rig) announceAll(scopes ...checker.Scope) {
	r.t.Helper()
	r.announceFields(wire.ChangedFields(scopes)...)
}

func (r *rig) announceFields(fields ...string) {
	r.t.Helper()
	r.announceAt(time.Now().Add(time.Millisecond), fields...)
}

// announceAt does so with an entry of a server whose clock shows at.
func (r *rig) announceAt(at time.Time, fields ...string) {
	r.t.Helper()
	entry := map[string]any{}
	head, err := wire.ReadPosition(r.client.Get(context.Background(), r.keys.ChangesHead()).Val())
	r.must(err)
	for i, field := range fields {
		entry[strconv.Itoa(i)] = field
	}
	head.Seq++
	entry["epoch"], entry["seq"], entry["prev"] = head.Epoch, head.Seq, head.ID
	id := fmt.Sprintf("%d-1", at.UnixMilli())
	_, err = r.client.TxPipelined(context.Background(), func(p redis.Pipeliner) error {
		p.XAdd(context.Background(), &redis.XAddArgs{Stream: r.keys.Changes(), ID: id, Values: entry})
		p.Set(context.Background(), r.keys.ChangesHead(), fmt.Sprintf("%s %d %s", head.Epoch, head.Seq, id), time.Hour)
		return nil
	})
	r.must(err)
}

var errDiffers = errors.New("the answers differ")

// found compares what the mirror says of scopes with what Redis does, and returns the scopes of the
// blocks.
func (r *rig) found(scopes ...checker.Scope) ([]string, error) {
	ours, err := r.mirror.Lookup(context.Background(), scopes)
	theirs, theirErr := r.remote.Lookup(context.Background(), scopes)
	if (err == nil) != (theirErr == nil) {
		return nil, fmt.Errorf("%w: errors %v and %v", errDiffers, err, theirErr) //nolint:errorlint // a report
	}
	return valuesOf(ours), same(ours, theirs)
}

// same reports how two answers differ. What comes from memory has no metadata.
func same(ours, theirs []checker.Block) error {
	sorted := func(blocks []checker.Block) []checker.Block {
		blocks = slices.Clone(blocks)
		for i := range blocks {
			blocks[i].Metadata = nil
		}
		slices.SortFunc(blocks, func(a, b checker.Block) int { return strings.Compare(a.Scope.String(), b.Scope.String()) })
		return blocks
	}
	if a, b := sorted(ours), sorted(theirs); len(a)+len(b) > 0 && !reflect.DeepEqual(a, b) {
		return fmt.Errorf("%w:\nmirror %+v\nRedis  %+v", errDiffers, a, b)
	}
	return nil
}

func valuesOf(blocks []checker.Block) []string {
	out := []string{}
	for _, b := range blocks {
		out = append(out, b.Scope.Value)
	}
	slices.Sort(out)
	return out
}

// says waits until the mirror, and Redis, find the blocks of want among scopes.
func (r *rig) says(scopes []checker.Scope, want ...string) {
	r.t.Helper()
	testenv.Eventually(r.t, soon, func() error {
		got, err := r.found(scopes...)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("found %q, want %q", got, want)
		}
		return err
	})
}

// isClean waits until the mirror says at once, or doesn't, that s is clean.
func (r *rig) isClean(s checker.Subject, want bool) {
	r.t.Helper()
	testenv.Eventually(r.t, soon, func() error {
		if r.mirror.Clean(s) != want {
			return fmt.Errorf("Clean(%+v) isn't %v", s, want)
		}
		return nil
	})
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
