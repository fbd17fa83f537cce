package mirror

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/store/storetest"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// TestMirrorFollowsChanges: what was there before, and what comes, is extended and goes, on one
// server and in a Cluster.
func TestMirrorFollowsChanges(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (redis.UniversalClient, string){
		"one server": func(t *testing.T) (redis.UniversalClient, string) {
			env := testenv.Redis(t)
			return env.Client, env.Prefix
		},
		"cluster": func(t *testing.T) (redis.UniversalClient, string) { return storetest.Cluster(t), "ws-test" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, prefix := open(t)
			r := newRig(t, client, prefix)
			r.put(time.Hour, user("before"), scopeOf("tenant", "before"))
			r.put(0, user("permanent"))
			r.run()
			r.becomes(Following)
			all := []checker.Scope{user("before"), user("permanent"), user("after"), scopeOf("tenant", "before"), scopeOf("tenant", "after"), scopeOf("plan", "after")}
			r.says(all, "before", "before", "permanent")
			r.put(time.Minute, user("after"), scopeOf("tenant", "after"), scopeOf("plan", "after"))
			r.says(all, "after", "after", "after", "before", "before", "permanent")
			extension := r.put(2*time.Hour, user("after"))
			testenv.Eventually(t, soon, func() error {
				blocks, err := r.mirror.Lookup(t.Context(), all[2:3])
				if err == nil && (len(blocks) != 1 || !blocks[0].ExpiresAt.Equal(extension[0].Block.ExpiresAt.Truncate(time.Millisecond))) {
					err = fmt.Errorf("%+v", blocks)
				}
				return err
			})
			r.unblock(user("before"))
			r.unblock(user("permanent"))
			r.says(all, "after", "after", "after", "before")
			if s := r.mirror.Status(); s.Snapshots != 1 || s.Gaps != 0 || s.Blocks != 4 {
				t.Errorf("Status = %+v", s)
			}
			if !r.mirror.HonoursDeadline() {
				t.Error("it does not honour deadlines")
			}
		})
	}
}

// TestCleanSubjects: the subject is taken as the caller gives it, and long values do not concern
// the mirror.
func TestCleanSubjects(t *testing.T) {
	t.Parallel()
	r := running(t)
	hashed := "sha256-" + strings.Repeat("0", 64)
	r.put(time.Hour, ip("203.0.113.9"), ip("2001:db8::1"), ip("198.51.100.0/25"), user("eve"), scopeOf("username", "Eve"),
		scopeOf("session", "s 1"), scopeOf("tenant", "t"), user(strings.Repeat("x", 300)))
	r.isClean(checker.Subject{User: "eve"}, false)
	for name, tc := range map[string]struct {
		subject checker.Subject
		clean   bool
	}{
		"nobody":               {checker.Subject{}, true},
		"a clean client":       {clean, true},
		"address":              {checker.Subject{IP: addr("203.0.113.9")}, false},
		"mapped address":       {checker.Subject{IP: addr("::ffff:203.0.113.9")}, false},
		"address with a zone":  {checker.Subject{IP: addr("2001:db8::1%eth0")}, false},
		"in a range":           {checker.Subject{IP: addr("198.51.100.127")}, false},
		"mapped, in a range":   {checker.Subject{IP: addr("::ffff:198.51.100.1")}, false},
		"beside the range":     {checker.Subject{IP: addr("198.51.100.128")}, true},
		"user with blanks":     {checker.Subject{User: "\teve "}, false},
		"user of another case": {checker.Subject{User: "Eve"}, true},
		"user name":            {checker.Subject{Username: "Eve"}, false},
		"session":              {checker.Subject{Session: "s 1"}, false},
		"long user":            {checker.Subject{User: strings.Repeat("x", 300)}, false},
		"long, not blocked":    {checker.Subject{User: strings.Repeat("y", 300)}, false},
		"looks hashed":         {checker.Subject{User: hashed}, false},
		"custom":               {checker.Subject{Extra: map[string]string{"a": "t", "tenant": " t "}}, false},
		"custom, clean":        {checker.Subject{Extra: map[string]string{"a": "t", "tenant": "u", "b": " "}}, true},
		"custom, long":         {checker.Subject{Extra: map[string]string{"new": hashed}}, false},
		"custom, built in":     {checker.Subject{Extra: map[string]string{"user": "eve"}}, false},
		"another address":      {checker.Subject{Extra: map[string]string{"ip": "[::ffff:203.0.113.9]:80"}}, false},
		"another, in a range":  {checker.Subject{Extra: map[string]string{"ip": "198.51.100.3:80"}}, false},
		"another, clean":       {checker.Subject{Extra: map[string]string{"ip": "198.51.100.200:80"}}, true},
		"no address":           {checker.Subject{Extra: map[string]string{"ip": "localhost"}}, true},
	} {
		if got := r.mirror.Clean(tc.subject); got != tc.clean {
			t.Errorf("%s: Clean = %v", name, got)
		}
	}
	long := user(strings.Repeat("x", 300))
	if blocks, err := r.mirror.Lookup(t.Context(), []checker.Scope{long}); err != nil || len(blocks) != 1 || blocks[0].Scope != long {
		t.Errorf("a long value: %+v, %v", blocks, err)
	}
}

// TestRanges: every range that contains the address blocks, whatever its length; of nested ones the
// one that still lasts. What is written another way is a value like any other.
func TestRanges(t *testing.T) {
	t.Parallel()
	r := running(t)
	r.put(time.Hour, ip("10.0.0.0/8"), ip("10.1.2.0/23"), ip("2001:db8::/32"), ip("2001:db8:1::/64"), ip("0.0.0.0/1"))
	r.put(300*time.Millisecond, ip("10.1.2.3"), ip("10.1.2.0/24"))
	odd := []string{"10.1.2.3/8", "::ffff:10.0.0.0/104", "10.9.9.9/32", "010.1.2.3", "fe80::1%eth0", "2001:DB8::2", "somewhere", "/"}
	for _, v := range odd {
		r.put(time.Hour, ip(v))
		r.says([]checker.Scope{ip(v)}, v)
	}
	find := func(value string, want ...string) {
		t.Helper()
		testenv.Eventually(t, soon, func() error {
			blocks, err := r.mirror.Lookup(t.Context(), []checker.Scope{ip(value), user("x")})
			if got := valuesOf(blocks); err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("%s is blocked by %q, want %q", value, got, want)
			}
			return err
		})
	}
	find("10.1.2.3", "0.0.0.0/1", "10.0.0.0/8", "10.1.2.0/23")
	find("10.1.2.0/24", "0.0.0.0/1", "10.0.0.0/8", "10.1.2.0/23")
	find("10.1.4.0", "0.0.0.0/1", "10.0.0.0/8")
	find("10.9.9.9", "0.0.0.0/1", "10.0.0.0/8")
	find("2001:db8:1::7", "2001:db8:1::/64", "2001:db8::/32")
	find("2001:db8:1::/64", "2001:db8:1::/64", "2001:db8::/32")
	find("203.0.113.9")
	blocks, err := r.mirror.Lookup(t.Context(), []checker.Scope{ip("10.1.4.0"), ip("10.1.4.0/24")})
	if err != nil || len(blocks) != 2 {
		t.Errorf("two scopes in one range: %+v, %v", blocks, err)
	}
	r.unblock(ip("0.0.0.0/1"))
	find("10.1.4.0", "10.0.0.0/8")
}

// TestExpiryFollowsRedisClock: a block ends by Redis's clock, whatever ours shows.
func TestExpiryFollowsRedisClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{-time.Hour, time.Hour} {
		r := running(t, WithClock(func() time.Time { return time.Now().Add(ahead) }))
		r.put(time.Minute, user("lasts"))
		r.put(200*time.Millisecond, user("ends"))
		testenv.Eventually(t, soon, func() error {
			if n := r.mirror.Status().Blocks; n != 2 {
				return fmt.Errorf("%d blocks", n)
			}
			return nil
		})
		testenv.Eventually(t, soon, func() error {
			blocks, err := r.mirror.Lookup(t.Context(), []checker.Scope{user("lasts"), user("ends")})
			if got := valuesOf(blocks); err == nil && !slices.Equal(got, []string{"lasts"}) {
				err = fmt.Errorf("found %q", got)
			}
			return err
		})
		if off := r.mirror.Status().Offset + ahead; off.Abs() > 5*time.Second {
			t.Errorf("the offset is wrong by %v", off)
		}
	}
}

// TestConfirm: what is not a block in Redis any more isn't one, though it was not announced;
// without Redis the mirror is believed.
func TestConfirm(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	for _, confirm := range []bool{false, true} {
		opts := []Option{WithReconcile(time.Hour)}
		if confirm {
			opts = append(opts, WithConfirm())
		}
		r := newRig(t, env.Client, fmt.Sprint("ws-test-", confirm), opts...)
		r.put(time.Hour, user("gone"), user("stays"), ip("10.0.0.0/8"))
		r.run()
		r.becomes(Following)
		r.must(env.Client.Del(t.Context(), r.keys.Block(user("gone"))).Err())
		blocks, err := r.mirror.Lookup(t.Context(), []checker.Scope{user("gone"), user("stays"), ip("10.1.1.1")})
		want := []string{"10.0.0.0/8", "gone", "stays"}
		if confirm {
			want = []string{"10.0.0.0/8", "stays"}
		}
		if got := valuesOf(blocks); err != nil || !slices.Equal(got, want) {
			t.Errorf("confirm=%v: found %q, %v", confirm, got, err)
		}
		if !confirm {
			continue
		}
		// As good as down: the answer can't be read.
		r.must(env.Client.Del(t.Context(), r.keys.Permanent()).Err())
		r.must(env.Client.Set(t.Context(), r.keys.Permanent(), "no hash", time.Hour).Err())
		blocks, err = r.mirror.Lookup(t.Context(), []checker.Scope{user("stays"), user("gone")})
		if got := valuesOf(blocks); err != nil || !slices.Contains(got, "stays") {
			t.Errorf("without Redis: found %q, %v", got, err)
		}
	}
}

// TestColdMirrorAsksRedis: a mirror without a complete membership hash asks, and says so.
func TestColdMirrorAsksRedis(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	r := newRig(t, env.Client, env.Prefix, WithPermanentTier())
	r.put(time.Hour, user("temporary"))
	r.run()
	r.becomes(Cold)
	if blocks, err := r.mirror.Lookup(t.Context(), []checker.Scope{user("temporary")}); !errors.Is(err, redislookup.ErrCold) || len(blocks) != 1 {
		t.Errorf("cold: %+v, %v", blocks, err)
	}
	if r.mirror.Clean(clean) {
		t.Error("a cold mirror calls a client clean")
	}
	permanent := checker.Block{ID: "p", Scope: user("permanent"), Rule: "r", StatusCode: 403, Message: "m"}
	_, err := r.blocks.Rebuild(t.Context(), func(_ context.Context, add func(checker.Block) error) error { return add(permanent) })
	r.must(err)
	r.becomes(Following)
	r.says([]checker.Scope{user("temporary"), user("permanent")}, "permanent", "temporary")
	r.isClean(clean, true)
	r.must(env.Client.Del(t.Context(), r.keys.Permanent()).Err())
	r.becomes(Cold)

	asked := newRig(t, env.Client, env.Prefix, WithColdLookup(lookup{permanent}))
	asked.run()
	asked.becomes(Cold)
	blocks, err := asked.mirror.Lookup(t.Context(), []checker.Scope{user("temporary"), user("permanent")})
	if got := valuesOf(blocks); err != nil || !slices.Equal(got, []string{"permanent", "temporary"}) {
		t.Errorf("with a cold look-up: %q, %v", got, err)
	}
}

// lookup finds fixed blocks.
type lookup []checker.Block

func (l lookup) Lookup(context.Context, []checker.Scope) ([]checker.Block, error) { return l, nil }

// TestOverfullMirrorAsksRedis: a mirror that is too small says so and asks, until there is room.
func TestOverfullMirrorAsksRedis(t *testing.T) {
	t.Parallel()
	r := running(t, WithMaxEntries(5), WithReconcile(200*time.Millisecond))
	var scopes []checker.Scope
	for i := range 8 {
		scopes = append(scopes, user(fmt.Sprint(i)))
	}
	r.put(time.Hour, scopes...)
	r.becomes(Overfull)
	if !r.states.heard("overfull: take snapshot: more blocks") {
		t.Errorf("said %q", r.states.all())
	}
	r.says(scopes, "0", "1", "2", "3", "4", "5", "6", "7")
	if s := r.mirror.Status(); s.Blocks != 0 || r.mirror.Clean(clean) {
		t.Errorf("overfull, and %d blocks are kept", s.Blocks)
	}
	for _, s := range scopes[:4] {
		r.unblock(s)
	}
	r.becomes(Following)
	r.says(scopes, "4", "5", "6", "7")
	r.isClean(clean, true)
}

// TestUnannouncedChangesAreReconciled: what was not announced is found in the end.
func TestUnannouncedChangesAreReconciled(t *testing.T) {
	t.Parallel()
	r := running(t, WithReconcile(100*time.Millisecond))
	const python = `{"scope_type": "user", "scope_value": "theirs", "reason": "", "rule_name": "py", "status_code": 429, "message": "m", ` +
		`"created_at": "2026-01-01T00:00:00.250000+00:00", "expires_at": "2126-01-01T00:00:00.123456+00:00", "metadata": {}}`
	r.raw(user("theirs"), python)
	r.says([]checker.Scope{user("theirs")}, "theirs")
	r.must(r.client.Del(t.Context(), r.keys.Block(user("theirs"))).Err())
	r.says([]checker.Scope{user("theirs")})
	r.isClean(checker.Subject{User: "theirs"}, true)
	if s := r.mirror.Status(); s.Snapshots < 3 || s.Gaps != 0 || s.Took <= 0 {
		t.Errorf("Status = %+v", s)
	}
}

// TestCorruptValueFailsItsScopeOnly: a value that no one can read is the look-up's failure, for its
// scope alone.
func TestCorruptValueFailsItsScopeOnly(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	r := newRig(t, env.Client, env.Prefix)
	r.raw(user("before"), "garbage")
	r.must(r.client.HSet(t.Context(), r.keys.Permanent(), "user:member", "garbage").Err())
	r.must(r.client.Expire(t.Context(), r.keys.Permanent(), time.Hour).Err())
	r.put(time.Hour, user("good"))
	r.run()
	r.becomes(Following)
	r.raw(user("after"), "garbage")
	r.announceAll(user("after"), user("fine"))
	for _, bad := range []string{"before", "member", "after"} {
		testenv.Eventually(t, soon, func() error {
			_, err := r.mirror.Lookup(t.Context(), []checker.Scope{user(bad)})
			if !errors.Is(err, redislookup.ErrCorrupt) || r.mirror.Clean(checker.Subject{User: bad}) {
				return fmt.Errorf("%s: %w", bad, errors.Join(err, errDiffers))
			}
			return nil
		})
	}
	r.says([]checker.Scope{user("good"), user("fine")}, "good")
	if r.mirror.Status().State != Following {
		t.Errorf("one bad value stops the mirror: %+v, %q", r.mirror.Status(), r.states.all())
	}
	c := checker.New(r.mirror, checker.WithFailClosed(regexp.MustCompile("^/pay")))
	if d := c.Check(t.Context(), checker.Subject{User: "after", Path: "/pay"}); !d.Blocked || !d.FailClosed {
		t.Errorf("decision %+v", d)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	r := running(t)
	if err := r.mirror.Run(t.Context()); !errors.Is(err, errRunning) {
		t.Errorf("run twice: %v", err)
	}
	if err := New(r.client, WithKeyPrefix("a b")).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "key prefix") {
		t.Errorf("bad prefix: %v", err)
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	if err := New(ring).Run(t.Context()); !errors.Is(err, errClient) {
		t.Errorf("a ring: %v", err)
	}
}

// TestNotRunningAsksRedis: a mirror that does not run is a look-up in Redis.
func TestNotRunningAsksRedis(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	r := newRig(t, env.Client, env.Prefix)
	r.put(time.Hour, user("a"))
	r.says([]checker.Scope{user("a"), user("b")}, "a")
	if r.mirror.Clean(clean) || r.mirror.Staleness() != math.MaxInt64 || r.mirror.Status().State != Starting {
		t.Errorf("Status = %+v", r.mirror.Status())
	}
}

// TestCleanAllocatesNothing and takes nothing along that the heap has to hold.
func TestCleanAllocatesNothing(t *testing.T) {
	m := filled(1000)
	s := clean
	s.Extra = map[string]string{"tenant": " t ", "ip": "198.51.100.3"}
	if n := testing.AllocsPerRun(1000, func() {
		if !m.Clean(s) {
			t.Fatal("not clean")
		}
	}); n != 0 {
		t.Errorf("Clean allocates %v times", n)
	}
}

// TestMemory: 100,000 blocks fit into 40 MiB.
func TestMemory(t *testing.T) {
	m, bytes := heapOf(func() *Mirror { return filled(manyBlocks) })
	t.Logf("%d blocks take %.1f MiB", m.Status().Blocks, float64(bytes)/(1<<20))
	if n := m.Status().Blocks; n < manyBlocks*9/10 || bytes > memoryLimit || bytes < 1<<20 {
		t.Errorf("%d blocks take %d bytes", n, bytes)
	}
}
