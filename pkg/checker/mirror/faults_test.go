package mirror

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// A private rig has a server of its own, to flush, kill and start again.
func private(t *testing.T, opts ...Option) (*rig, *testenv.PrivateRedisEnv) {
	t.Helper()
	env := testenv.PrivateRedis(t)
	r := newRig(t, env.Client, env.Prefix, opts...)
	r.put(time.Hour, user("old"))
	r.run()
	r.becomes(Following)
	r.says([]checker.Scope{user("old")}, "old")
	return r, env
}

// TestDisconnectCatchesUpWithoutSnapshot: changes that came while the mirror was cut off are made
// up for without a snapshot.
func TestDisconnectCatchesUpWithoutSnapshot(t *testing.T) {
	t.Parallel()
	r, env := private(t)
	for i := range 5 {
		name := fmt.Sprint("new", i)
		r.wires.cut()
		if i%2 == 0 {
			r.must(env.Client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
		}
		testenv.Eventually(t, soon, func() error { // the store's connections are gone, too
			_, err := r.blocks.Put(t.Context(), puts(user(name)))
			return err
		})
		r.says([]checker.Scope{user(name), user("old")}, name, "old")
	}
	if s := r.mirror.Status(); s.Snapshots != 1 || s.Gaps != 0 {
		t.Errorf("Status = %+v", s)
	}
}

// TestOutageServesUntilStale: a mirror that Redis has left answers alone while it may; then it
// fails, and what it knows to be blocked stays so. It comes back with Redis, which has forgotten
// everything.
func TestOutageServesUntilStale(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r, env := private(t, WithMaxStaleness(time.Hour), WithClock(clock))
	c := checker.New(r.mirror, checker.WithClock(time.Now), checker.WithTimeout(time.Second))
	r.put(2*time.Hour, user("long"))
	r.says([]checker.Scope{user("long")}, "long")
	env.Kill()
	all := []checker.Scope{user("old"), user("long"), user("x")}
	if blocks, err := r.mirror.Lookup(t.Context(), all); err != nil || len(blocks) != 2 || !r.mirror.Clean(clean) {
		t.Errorf("just left: %+v, %v", blocks, err)
	}
	ahead.Store(int64(90 * time.Minute))
	blocks, err := r.mirror.Lookup(t.Context(), all)
	if err == nil || len(blocks) != 1 || blocks[0].Scope != user("long") {
		t.Errorf("stale: %+v, %v; want the block that lasts, and an error", blocks, err)
	}
	if s := r.mirror.Status(); s.State != Stale || s.Staleness < time.Hour || r.mirror.Clean(clean) {
		t.Errorf("Status = %+v", s)
	}
	if d := c.Check(t.Context(), checker.Subject{User: "long"}); !d.Blocked || d.Err == nil {
		t.Errorf("a block that is known: %+v", d)
	}
	if d := c.Check(t.Context(), checker.Subject{User: "x"}); d.Blocked || d.Err == nil {
		t.Errorf("another client: %+v", d)
	}
	env.Restart()
	r.becomes(Following)
	r.says(all)
	r.isClean(clean, true)
	if !r.states.heard("starting: changes were missed") {
		t.Errorf("said %q", r.states.all())
	}
}

// TestFlushIsNoticed: a flush emits nothing, and is noticed within a moment.
func TestFlushIsNoticed(t *testing.T) {
	t.Parallel()
	r, env := private(t)
	r.must(env.Client.FlushAll(t.Context()).Err())
	r.says([]checker.Scope{user("old")})
	r.put(time.Hour, user("new"))
	r.says([]checker.Scope{user("old"), user("new")}, "new")
	r.becomes(Following)
	if s := r.mirror.Status(); s.Gaps == 0 {
		t.Errorf("Status = %+v", s)
	}
}

// TestFailoverWithLostWrites: the replica that takes over has lost the last changes, and others
// come in their stead.
func TestFailoverWithLostWrites(t *testing.T) {
	t.Parallel()
	r, master := private(t)
	replica := testenv.PrivateRedis(t)
	host, port, err := net.SplitHostPort(master.Addr)
	r.must(err)
	r.must(replica.Client.ReplicaOf(t.Context(), host, port).Err())
	key := r.keys.Block(user("old"))
	testenv.Eventually(t, soon, func() error { return replica.Client.Get(t.Context(), key).Err() })
	r.must(replica.Client.ReplicaOf(t.Context(), "NO", "ONE").Err())
	r.put(time.Hour, user("lost"))
	r.says([]checker.Scope{user("lost"), user("old")}, "lost", "old")

	promoted := newRig(t, replica.Client, master.Prefix)
	promoted.put(time.Hour, user("new"))
	r.wires.to.Store(&replica.Addr)
	master.Kill()
	promoted.mirror, promoted.t = r.mirror, t
	promoted.says([]checker.Scope{user("old"), user("lost"), user("new")}, "new", "old")
	promoted.put(time.Hour, user("newer"))
	promoted.says([]checker.Scope{user("lost"), user("newer")}, "newer")
	if s := r.mirror.Status(); s.Gaps != 1 {
		t.Errorf("Status = %+v", s)
	}
}

// TestClusterPrimaryKilledKeepsDenying: the mirror of a Cluster that loses a primary, be it the one
// with the changes, denies what it knows all along, and follows again once the replica is elected.
func TestClusterPrimaryKilledKeepsDenying(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]func(rediskey.Keys) string{
		"of the changes": rediskey.Keys.Changes, "of the membership hash": rediskey.Keys.Permanent, "of the end of the changes": rediskey.Keys.ChangesHead,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.Cluster(t)
			client, err := redislookup.Connect(env.URL)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() })
			r := newRig(t, client, "ws-test")
			var known []checker.Scope
			for i := range 20 {
				known = append(known, user(fmt.Sprint("known", i)))
			}
			r.put(time.Hour, known...)
			r.mirror = New(client, WithKeyPrefix("ws-test"), WithPermanentTier(), WithReconcile(time.Hour), WithOnState(r.states.add))
			r.must(env.ClusterClient().HSet(t.Context(), r.keys.Permanent(), rediskey.CompleteField, "1").Err())
			r.run()
			r.becomes(Following)
			c := checker.New(r.mirror, checker.WithTimeout(100*time.Millisecond))
			for _, p := range env.Primaries {
				r.must(p.Client.Wait(t.Context(), 1, time.Minute).Err())
			}
			gone := env.PrimaryOf(key(r.keys))
			env.Primaries[gone].Kill()
			for elected := false; !elected; <-time.After(10 * time.Millisecond) {
				for _, s := range known {
					if d := c.Check(t.Context(), checker.Subject{User: s.Value}); !d.Blocked {
						t.Fatalf("%v isn't denied any more: %+v; %+v", s, d, r.mirror.Status())
					}
				}
				role, err := env.Replicas[gone].Client.Do(t.Context(), "ROLE").Slice()
				r.must(err)
				elected = role[0] == "master"
			}
			env.Elected(gone)
			r.becomes(Following)
			testenv.Eventually(t, soon, func() error {
				_, err := r.blocks.Put(t.Context(), puts(user("new")))
				return err
			})
			r.says([]checker.Scope{user("new"), known[0]}, known[0].Value, "new")
		})
	}
}

// TestGapsAreDetected: whatever may hide a change is a gap. Turns are taken by hand, so that
// nothing is read in between.
func TestGapsAreDetected(t *testing.T) {
	t.Parallel()
	type state struct{ head, stream string }
	save := func(r *rig) state {
		ctx := context.Background()
		return state{r.client.Dump(ctx, r.keys.ChangesHead()).Val(), r.client.Dump(ctx, r.keys.Changes()).Val()}
	}
	restore := func(r *rig, s state) {
		ctx := context.Background()
		r.must(r.client.RestoreReplace(ctx, r.keys.ChangesHead(), time.Hour, s.head).Err())
		r.must(r.client.RestoreReplace(ctx, r.keys.Changes(), time.Hour, s.stream).Err())
	}
	for name, tc := range map[string]struct {
		after func(r *rig)
		want  error
	}{
		"nothing":       {func(*rig) {}, nil},
		"a change":      {func(r *rig) { r.put(time.Hour, user("b")) }, nil},
		"another's TTL": {func(r *rig) { r.client.Expire(context.Background(), r.keys.Changes(), time.Minute) }, nil},
		"trimmed": {func(r *rig) {
			r.put(time.Hour, user("b"))
			r.client.XTrimMaxLen(context.Background(), r.keys.Changes(), 0)
		}, errGap},
		"trimmed, and another": {func(r *rig) {
			r.put(time.Hour, user("b"))
			r.client.XTrimMaxLen(context.Background(), r.keys.Changes(), 0)
			r.put(time.Hour, user("c"))
		}, errGap},
		"stream gone":  {func(r *rig) { r.client.Del(context.Background(), r.keys.Changes(), r.keys.ChangesHead()) }, errGap},
		"head gone":    {func(r *rig) { r.client.Del(context.Background(), r.keys.ChangesHead()) }, errGap},
		"a new epoch":  {func(r *rig) { r.client.Del(context.Background(), r.keys.ChangesHead()); r.put(time.Hour, user("b")) }, errGap},
		"a new stream": {func(r *rig) { r.client.Del(context.Background(), r.keys.Changes()); r.put(time.Hour, user("b")) }, errGap},
		"no change that we know": {func(r *rig) {
			r.client.XAdd(context.Background(), &redis.XAddArgs{Stream: r.keys.Changes(), Values: []string{"x", "y"}})
		}, errGap},
		"anything": {func(r *rig) { r.announceFields(wire.AllChanged) }, errAnything},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, r := byHand(t)
			tc.after(r)
			if err := f.step(t.Context(), -1); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	t.Run("a failover", func(t *testing.T) {
		t.Parallel()
		f, r := byHand(t)
		old := save(r)
		r.put(time.Hour, user("lost"))
		r.must(f.step(t.Context(), -1))
		restore(r, old)
		if err := f.step(t.Context(), -1); !errors.Is(err, errGap) {
			t.Errorf("entries were lost: %v", err)
		}
	})
	t.Run("a failover, then as many changes, some from before by the new server's clock", func(t *testing.T) {
		t.Parallel()
		f, r := byHand(t)
		old, ahead := save(r), time.Now().Add(time.Minute)
		r.announceAt(ahead, "user:lost")
		r.must(f.step(t.Context(), -1))
		restore(r, old)
		r.announceFields("user:unseen")
		r.announceAt(ahead.Add(time.Second), "user:seen")
		if err := f.step(t.Context(), -1); !errors.Is(err, errGap) {
			t.Errorf("numbers and IDs look contiguous: %v", err)
		}
	})
	t.Run("while a snapshot is taken", func(t *testing.T) {
		t.Parallel()
		f, r := byHand(t)
		f.begin(t.Context())
		r.put(time.Hour, user("b"))
		r.client.XTrimMaxLen(t.Context(), r.keys.Changes(), 0)
		if err := f.step(t.Context(), -1); !errors.Is(err, errGap) {
			t.Errorf("error %v", err)
		}
		f.leave() // waits for the snapshot, which no other goroutine has taken
	})
	t.Run("no head, and then one", func(t *testing.T) {
		t.Parallel()
		_, r := byHand(t)
		r.client.Del(t.Context(), r.keys.ChangesHead())
		at, err := r.mirror.end(t.Context())
		r.must(err)
		f := &follower{m: r.mirror, feed: feed{client: r.mirror.client, keys: r.keys, at: at}}
		t.Cleanup(f.close)
		r.must(f.step(t.Context(), -1))
		r.put(time.Hour, user("b"))
		r.must(f.step(t.Context(), -1))
		if f.at.Seq != 1 || f.at.Epoch == "" {
			t.Errorf("at %+v", f.at)
		}
	})
}

// byHand is a follower that has shown its snapshot, and whose turns the test takes.
func byHand(t *testing.T) (*follower, *rig) {
	t.Helper()
	env := testenv.Redis(t)
	r := newRig(t, env.Client, env.Prefix)
	r.put(time.Hour, user("a"))
	at, err := r.mirror.end(t.Context())
	r.must(err)
	f := &follower{m: r.mirror, feed: feed{client: r.mirror.client, keys: r.keys, at: at}}
	t.Cleanup(f.close)
	f.begin(t.Context())
	r.must(f.show(t.Context(), <-f.taken))
	return f, r
}

// TestChangesDuringSnapshotAreRead: what changes while one is being taken is read again, whatever
// the snapshot saw.
func TestChangesDuringSnapshotAreRead(t *testing.T) {
	t.Parallel()
	f, r := byHand(t)
	f.begin(t.Context())
	done := <-f.taken
	f.taken <- done // it has seen nothing of what follows
	r.put(time.Hour, user("b"))
	r.unblock(user("a"))
	r.must(f.step(t.Context(), -1))
	r.must(f.snapshot(t.Context()))
	blocks, err := r.mirror.Lookup(t.Context(), []checker.Scope{user("a"), user("b")})
	if got := valuesOf(blocks); err != nil || len(got) != 1 || got[0] != "b" {
		t.Errorf("found %q, %v", got, err)
	}
}

// TestDeployedRedisUserSuffices: the user that deploy/redis has for a mirror can run one.
func TestDeployedRedisUserSuffices(t *testing.T) {
	t.Parallel()
	users, err := os.ReadFile("../../../deploy/redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	rights := regexp.MustCompile(`(?m)^user ingress-check-mirror on >change-me (.*)$`).FindSubmatch(users)
	if rights == nil {
		t.Fatal("the file has no such user")
	}
	env := testenv.PrivateRedis(t)
	command := []any{"ACL", "SETUSER", "reader", "on", ">secret"}
	for _, right := range strings.Fields(string(rights[1])) {
		command = append(command, right)
	}
	if err := env.Client.Do(t.Context(), command...).Err(); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, env.Client, rediskey.DefaultPrefix)
	client, err := redislookup.Connect(strings.Replace(env.URL, "//", "//reader:secret@", 1))
	r.must(err)
	t.Cleanup(func() { _ = client.Close() })
	r.mirror = New(client, WithReconcile(100*time.Millisecond), WithOnState(r.states.add))
	r.run()
	r.becomes(Following)
	r.put(time.Hour, user("a"))
	r.says([]checker.Scope{user("a")}, "a")
	testenv.Eventually(t, soon, func() error {
		if n := r.mirror.Status().Snapshots; n < 2 {
			return fmt.Errorf("%d snapshots", n)
		}
		return nil
	})
	if r.states.heard("NOPERM") {
		t.Errorf("said %q", r.states.all())
	}
}
