package redislookup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestRecoveredRedisIsAsked: however many look-ups failed meanwhile, one that comes 100 ms after
// Redis answers again finds the block.
func TestRecoveredRedisIsAsked(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	f := fixture{t: t, client: connect(t, env.URL+"?pool_size=4"), keys: rediskey.Keys{Prefix: "ws-test"}}
	c := checker.New(f.lookup(), checker.WithTimeout(5*time.Second))
	f.key(made(address, "temp", time.Hour))
	for round := range 3 {
		env.Kill()
		for range 50 {
			if d := c.Check(t.Context(), checker.Subject{User: "42"}); d.Err == nil {
				t.Fatal("a server that is gone answers")
			}
		}
		env.Restart()
		<-time.After(100 * time.Millisecond)
		if d := c.Check(t.Context(), checker.Subject{IP: netip.MustParseAddr(address.Value)}); !d.Blocked || d.Err != nil {
			t.Errorf("round %d: %+v", round, d)
		}
	}
}

// clusterRig is a Cluster with one blocked user on each primary, a complete membership hash, and a
// checker of it.
type clusterRig struct {
	fixture

	env     *testenv.ClusterEnv
	checker *checker.Checker
	users   []string // by primary
	hashAt  int      // the primary that has the membership hash
}

func newClusterRig(t *testing.T) *clusterRig {
	t.Helper()
	// Otherwise no primary answers while one of them is known to be gone, which cannot be changed
	// from here.
	env := testenv.Cluster(t, "--cluster-require-full-coverage", "no")
	r := &clusterRig{fixture: fixture{t: t, client: env.ClusterClient(), keys: rediskey.Keys{Prefix: "ws-test"}}, env: env, users: make([]string, 3)}
	for n := 0; r.users[0] == "" || r.users[1] == "" || r.users[2] == ""; n++ {
		name := fmt.Sprint("user", n)
		if i := env.PrimaryOf(r.keys.Block(user1(name))); r.users[i] == "" {
			r.users[i] = name
			r.key(made(user1(name), name, time.Hour))
		}
	}
	r.complete()
	r.hashAt = env.PrimaryOf(r.keys.Permanent())
	r.checker = checker.New(New(connect(t, env.URL), WithKeyPrefix(r.keys.Prefix), WithPermanentTier()), checker.WithTimeout(time.Second))
	for i := range r.users {
		if d := r.check(i); !d.Blocked || d.Err != nil {
			t.Fatalf("at first, primary %d: %+v", i, d)
		}
		if n, err := env.Primaries[i].Client.Wait(t.Context(), 1, time.Minute).Result(); err != nil || n != 1 {
			t.Fatalf("replicated to %d, %v", n, err)
		}
	}
	return r
}

func user1(name string) checker.Scope { return checker.Scope{Type: checker.ScopeUser, Value: name} }

func (r *clusterRig) check(primary int) checker.Decision {
	return r.checker.Check(r.t.Context(), checker.Subject{User: r.users[primary]})
}

// TestClusterPrimaryKilledKeepsDenying: what the other primaries have is denied all along, and
// everything once a replica is elected.
func TestClusterPrimaryKilledKeepsDenying(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]func(r *clusterRig) int{
		"the one with the membership hash": func(r *clusterRig) int { return r.hashAt },
		"another":                          func(r *clusterRig) int { return (r.hashAt + 1) % 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newClusterRig(t)
			gone := pick(r)
			r.env.Primaries[gone].Kill()
			for elected := false; !elected; {
				role, err := r.env.Replicas[gone].Client.Do(t.Context(), "ROLE").Slice()
				r.must(err)
				elected = role[0] == "master"
				for i := range r.users {
					if d := r.check(i); i != gone && !d.Blocked {
						t.Fatalf("primary %d, while %d is gone: %+v", i, gone, d)
					}
				}
				<-time.After(10 * time.Millisecond)
			}
			// Ten seconds is less than the minute after which go-redis would look by itself.
			testenv.Eventually(t, 10*time.Second, func() error {
				for i := range r.users {
					if d := r.check(i); !d.Blocked || d.Err != nil {
						return fmt.Errorf("after the election, primary %d: %+v", i, d)
					}
				}
				return nil
			})
		})
	}
}

// TestClusterPrimaryHangsDelaysNoOther: a server that takes requests and answers none costs the
// others nothing after a while, and no client is let through for it whom another server has
// blocked.
func TestClusterPrimaryHangsDelaysNoOther(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t)
	r.checker = checker.New(New(connect(t, r.env.URL), WithKeyPrefix(r.keys.Prefix), WithPermanentTier()), checker.WithTimeout(100*time.Millisecond))
	testenv.Eventually(t, 10*time.Second, func() error { return r.check((r.hashAt + 1) % 3).Err }) // it has connections now
	r.must(r.env.Primaries[r.hashAt].Client.Do(t.Context(), "CLIENT", "PAUSE", 60_000, "ALL").Err())
	silent := 0
	for range 60 {
		for i := range r.users {
			d := r.check(i)
			if i != r.hashAt && !d.Blocked {
				t.Fatalf("primary %d: %+v", i, d)
			}
			if errors.Is(d.Err, errSilent) {
				silent++
			}
		}
	}
	if silent < 60 {
		t.Errorf("%d of 180 look-ups didn't wait for the server that hangs", silent)
	}
}

// TestSilentServerIsSpared: a server is spared only once it has let several wait, is tried now and
// then, and asked again once it answers.
func TestSilentServerIsSpared(t *testing.T) {
	t.Parallel()
	var s silences
	server, other := redis.NewClient(&redis.Options{}), redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _, _ = server.Close(), other.Close() })
	now := time.Now()
	for i := range silentLeast {
		if !s.admit(server, now) {
			t.Fatalf("spared after %d", i)
		}
		s.learn(server, now, true)
	}
	if s.admit(server, now) || !s.admit(other, now) {
		t.Error("not spared, or the other is")
	}
	now = now.Add(silentRest)
	if !s.admit(server, now) || s.admit(server, now) {
		t.Error("it isn't tried once")
	}
	s.learn(server, now, false)
	if !s.admit(server, now) || s.any.Load() != 0 {
		t.Error("it answered, and is spared")
	}
}

// TestPartialReplyIsAnErrorAndHidesNothing: what a server of the cluster can't say is an error that
// names it, and no block is lost over it.
func TestPartialReplyIsAnErrorAndHidesNothing(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t)
	gone := (r.hashAt + 1) % 3
	r.env.Primaries[gone].Kill()
	var scopes []checker.Scope
	for _, name := range r.users {
		scopes = append(scopes, user1(name))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	blocks, err := New(connect(t, r.env.URL), WithKeyPrefix(r.keys.Prefix)).Lookup(ctx, scopes)
	var opErr *net.OpError
	if len(blocks) != 2 || !errors.As(err, &opErr) || !strings.Contains(err.Error(), "read block keys") {
		t.Errorf("%v, %v", messages(blocks), err)
	}
}
