package consumer

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

func (b *fixture) sampler() *sampler { return newSampler(b.client, b.prefix, b.stream, testGroup) }

// sampled is what a sampler finds, without ages.
func (b *fixture) sampled() sample {
	b.t.Helper()
	s, ok, err := b.sampler().take(context.Background())
	if err != nil || !ok {
		b.t.Fatalf("sample: %v, %v", ok, err)
	}
	s.oldest = 0
	return s
}

// known is what a sampler can know of s. Redis before 7.0 doesn't count entries, so that what was
// trimmed unread is unknown.
func (b *fixture) known(s sample) sample {
	b.t.Helper()
	info, err := b.client.XInfoStream(context.Background(), b.stream).Result()
	b.must(err)
	if info.EntriesAdded == 0 { // though some were
		s.lost, s.unknown = 0, false
	}
	return s
}

func (b *fixture) trimTo(n int64) {
	b.t.Helper()
	if err := b.client.XTrimMaxLen(context.Background(), b.stream, n).Err(); err != nil {
		b.t.Fatal(err)
	}
}

// miscounted is a server on which 300 entries were handled of late, and that has been restarted, or
// has taken over, so that its own count of those that were read ends before them: entries-read says
// 100.
func miscounted(t *testing.T, how string) *fixture {
	t.Helper()
	b, env := privateFixture(t, "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
	b.group(testGroup)
	b.add(100)
	b.readAs(testGroup, 100, every)
	if s := b.sampled(); s != (sample{exact: true}) {
		t.Fatalf("before: %+v", s)
	}
	rest := func() {
		b.add(300)
		b.readAs(testGroup, 300, every)
	}
	switch how {
	case "restart":
		rewrite(b)
		rest()
		env.Shutdown()
		env.Restart()
	case "kill":
		rewrite(b)
		rest()
		env.Kill()
		env.Restart()
	case "failover":
		replica := testenv.PrivateRedis(t)
		host, port, _ := net.SplitHostPort(env.Addr)
		b.must(replica.Client.ReplicaOf(t.Context(), host, port).Err())
		inStep(b, replica.Client, 100)
		rest()
		inStep(b, replica.Client, 400)
		b.must(replica.Client.ReplicaOf(t.Context(), "NO", "ONE").Err())
		env.Kill()
		b.client, b.url = replica.Client, replica.URL
	}
	groups, err := b.client.XInfoGroups(t.Context(), b.stream).Result()
	if err != nil || len(groups) != 1 {
		t.Fatalf("groups %+v, %v", groups, err)
	}
	t.Logf("Redis counts %d entries as read", groups[0].EntriesRead)
	return b
}

func (b *fixture) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// rewrite has the append-only file rewritten, and returns once it is.
func rewrite(b *fixture) {
	b.t.Helper()
	ctx := context.Background()
	b.must(b.client.BgRewriteAOF(ctx).Err())
	b.eventually(func() error {
		info, err := b.client.InfoMap(ctx, "persistence").Result()
		return errors.Join(err, want("rewriting", info["Persistence"]["aof_rewrite_in_progress"], "0"),
			want("scheduled", info["Persistence"]["aof_rewrite_scheduled"], "0"))
	})
}

// inStep waits until a replica has the stream with n entries, all of them delivered.
func inStep(b *fixture, replica *redis.Client, n int64) {
	b.t.Helper()
	ctx := context.Background()
	last, err := b.client.XInfoStream(ctx, b.stream).Result()
	b.must(err)
	b.eventually(func() error {
		groups, err := replica.XInfoGroups(ctx, b.stream).Result()
		if err == nil && len(groups) == 1 {
			err = want("delivered", groups[0].LastDeliveredID, last.LastGeneratedID)
		}
		return errors.Join(err, want("entries", replica.XLen(ctx, b.stream).Val(), n))
	})
}

// TestSamplerIgnoresRedisEntryCounter: what was handled before a restart or a failover is neither
// lost nor behind, however Redis counts.
func TestSamplerIgnoresRedisEntryCounter(t *testing.T) {
	t.Parallel()
	none := func(*fixture) {}
	for _, how := range []string{"restart", "kill", "failover"} {
		for name, tc := range map[string]struct {
			then func(b *fixture)
			want sample
		}{
			"at the end":              {none, sample{exact: true}},
			"unread behind":           {func(b *fixture) { b.add(70) }, sample{lag: 70, exact: true}},
			"old ones trimmed":        {func(b *fixture) { b.add(70); b.trimTo(71) }, sample{lag: 70, exact: true}},
			"all trimmed":             {func(b *fixture) { b.trimTo(0) }, sample{exact: true}},
			"more are handled":        {func(b *fixture) { b.add(50); b.readAs(testGroup, 40, every) }, sample{lag: 10, exact: true}},
			"pending":                 {func(b *fixture) { b.add(5); b.readAs(testGroup, 5, func(int) bool { return false }) }, sample{pending: 5, exact: true}},
			"the one before deleted":  {func(b *fixture) { b.add(2); b.client.XDel(context.Background(), b.stream, b.first()) }, sample{lag: 2, exact: true}},
			"read and unread trimmed": {func(b *fixture) { b.add(70); b.trimTo(40) }, sample{lag: 40, exact: true, unknown: true}},
			"the unread trimmed":      {func(b *fixture) { b.add(70); b.trimTo(0) }, sample{exact: true, unknown: true}},
		} {
			t.Run(how+", "+name, func(t *testing.T) {
				t.Parallel()
				b := miscounted(t, how)
				tc.then(b)
				for i := range 2 { // the second sampler finds the same, but nothing new
					if got, want := b.sampled(), b.known(tc.want); got != want {
						t.Errorf("look %d: %+v, want %+v", i, got, want)
					}
					tc.want.unknown = false
				}
				// From here on Redis' count is right again, and losses are certain.
				b.add(90)
				b.trimTo(30)
				want := b.known(sample{lag: 30, exact: true, lost: tc.want.lag + 60, pending: tc.want.pending})
				if got := b.sampled(); got != want {
					t.Errorf("once it is counted: %+v, want %+v", got, want)
				}
			})
		}
	}
}

// first is the ID of the stream's first entry.
func (b *fixture) first() string {
	b.t.Helper()
	entries, err := b.client.XRangeN(context.Background(), b.stream, "-", "+", 1).Result()
	b.must(err)
	return entries[0].ID
}

// TestLagUnknownToRedisIsEstimated: more entries are unread than are counted one by one.
func TestLagUnknownToRedisIsEstimated(t *testing.T) {
	t.Parallel()
	b := miscounted(t, "restart")
	b.addAt(time.Now(), 5000)
	s := b.sampled()
	if s.exact || s.lag < 1000 || s.lag > 5300 || s.lost != 0 || s.unknown {
		t.Errorf("%+v", s)
	}
	lag, ok, err := MeasureLag(t.Context(), b.client, b.prefix, b.stream, testGroup)
	if err != nil || !ok || lag != (Lag{Unread: s.lag}) {
		t.Errorf("MeasureLag: %+v, %v, %v", lag, ok, err)
	}
	b.readAs(testGroup, 4500, every)
	if s := b.sampled(); s != (sample{lag: 500, exact: true}) {
		t.Errorf("%+v", s)
	}
	b.addAt(time.Now(), 5000)
	if s := b.sampled(); s != (sample{lag: 5500, exact: true}) {
		t.Errorf("once Redis' count is right: %+v", s)
	}
}

// TestLastSeenIsUpdatedByIdleWorker: a worker that samples was there, whether or not Redis
// counts.
func TestLastSeenIsUpdatedByIdleWorker(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.group(testGroup)
	seen := func() (time.Duration, bool) { return LastSeen(t.Context(), b.client, b.prefix, b.stream, testGroup) }
	if _, ok := seen(); ok {
		t.Error("a worker was seen before any looked")
	}
	b.sampled()
	if ago, ok := seen(); !ok || ago > time.Minute {
		t.Errorf("seen %s ago, %v", ago, ok)
	}
	b.must(b.client.PExpire(t.Context(), b.sampler().key, countedTTL-time.Hour).Err())
	if ago, ok := seen(); !ok || ago < time.Hour || ago > time.Hour+time.Minute {
		t.Errorf("seen %s ago, %v; want an hour", ago, ok)
	}
	b.sampled()
	if ago, ok := seen(); !ok || ago > time.Minute {
		t.Errorf("seen %s ago, %v", ago, ok)
	}
}

// TestMeasureLagChangesNothing: measuring leaves what a worker is to find.
func TestMeasureLagChangesNothing(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.group(testGroup)
	b.add(10)
	b.sampled()
	b.trimTo(4)
	for range 2 {
		if lag, ok, err := MeasureLag(t.Context(), b.client, b.prefix, b.stream, testGroup); err != nil || !ok || lag != (Lag{Unread: 4, Exact: true}) {
			t.Errorf("%+v, %v, %v", lag, ok, err)
		}
	}
	if _, ok, err := MeasureLag(t.Context(), b.client, b.prefix, b.stream, "none"); ok || err != nil {
		t.Errorf("no such group: %v, %v", ok, err)
	}
	if s := b.sampled(); s.lost != 6 {
		t.Errorf("%+v", s)
	}
}

// TestLossIsUnknownWithoutINFO: a user who may not run INFO.
func TestLossIsUnknownWithoutINFO(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t)
	b.group(testGroup)
	b.add(10)
	b.must(env.Client.Do(t.Context(), "ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "-info").Err())
	b.client = redis.NewClient(&redis.Options{Addr: env.Addr, Username: "u", Password: "p"})
	t.Cleanup(func() { _ = b.client.Close() })
	b.readAs(testGroup, 4, every)
	if s := b.sampled(); s != (sample{lag: 6, exact: true}) {
		t.Errorf("%+v", s)
	}
	b.trimTo(2)
	if s := b.sampled(); s != (sample{lag: 2, exact: true, unknown: true}) {
		t.Errorf("%+v", s)
	}
	if s := b.sampled(); s != (sample{lag: 2, exact: true}) {
		t.Errorf("%+v", s)
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	if _, ok, err := b.sampler().take(ctx); ok || err != nil {
		t.Errorf("no stream: %v, %v", ok, err)
	}
	b.group(testGroup)
	check := func(what string, lag, pending int64, oldest time.Duration, lost int64) {
		t.Helper()
		s, ok, err := b.sampler().take(ctx)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", what, ok, err)
		}
		if s.lag != lag || s.pending != pending || s.lost != lost || s.oldest < oldest || s.oldest > oldest+time.Hour {
			t.Errorf("%s: %+v, want lag %d, %d pending, %s old, %d lost", what, s, lag, pending, oldest, lost)
		}
	}
	check("nothing", 0, 0, 0, 0)
	b.addAt(time.Now().Add(-3*24*time.Hour), 10)
	b.addAt(time.Now().Add(-2*24*time.Hour), 10)
	check("all unread", 20, 0, 3*24*time.Hour, 0)
	b.readAs(testGroup, 15, func(i int) bool { return i < 10 })
	check("some pending", 5, 5, 2*24*time.Hour, 0)
	b.readAs(testGroup, 5, every)
	check("nothing unread", 0, 5, 2*24*time.Hour, 0)
}

func TestTrimmedUnreadIsCountedOnce(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		read int64 // of 200
		keep int64
		lost int64
		lag  int64
	}{
		"the unread's beginning": {50, 40, 110, 40},
		"all the unread":         {50, 0, 150, 0},
		"what was read":          {50, 150, 0, 150},
		"nothing":                {200, 200, 0, 0},
		"all, and all was read":  {200, 0, 0, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			ctx := context.Background()
			b.group(testGroup)
			b.add(200)
			b.readAs(testGroup, tc.read, every)
			if s, _, err := b.sampler().take(ctx); err != nil || s.lost != 0 || s.unknown {
				t.Fatalf("before: %+v, %v", s, err)
			}
			if err := b.client.XTrimMaxLen(ctx, b.stream, tc.keep).Err(); err != nil {
				t.Fatal(err)
			}
			for i, lost := range []int64{tc.lost, 0} { // the second sampler finds nothing
				if got, want := b.sampled(), b.known(sample{lag: tc.lag, exact: true, lost: lost}); got != want {
					t.Errorf("look %d: %+v, want %+v", i, got, want)
				}
			}
			// The group reads on where it was, and nothing else is ever taken for lost.
			b.add(10)
			b.readAs(testGroup, 500, every)
			s, _, err := b.sampler().take(ctx)
			if err != nil || s.lost != 0 || s.lag != 0 || s.pending != 0 {
				t.Errorf("in the end: %+v, %v", s, err)
			}
		})
	}
}

// TestTrimmedUnreadIsCountedAfterGroupReadOn: a worker that reads past the gap before anyone
// measures does not hide what was lost in it.
func TestTrimmedUnreadIsCountedAfterGroupReadOn(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]int64{"some": 5, "all": 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			b.group(testGroup)
			b.add(200)
			b.readAs(testGroup, 50, every)
			if s := b.sampled(); s.lost != 0 || s.unknown {
				t.Fatalf("before: %+v", s)
			}
			b.trimTo(40)
			b.readAs(testGroup, read, every)
			for i, lost := range []int64{110, 0} {
				if got, want := b.sampled(), b.known(sample{lag: 40 - read, exact: true, lost: lost}); got != want {
					t.Errorf("sample %d: %+v, want %+v", i, got, want)
				}
			}
		})
	}
}

// TestTrimmedBeforeGroupCountsNoLoss is the case of a group that is new.
func TestTrimmedBeforeGroupCountsNoLoss(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	b.add(100)
	b.client.XTrimMaxLen(ctx, b.stream, 30)
	b.group(testGroup)
	for _, read := range []int64{10, 20} {
		s, _, err := b.sampler().take(ctx)
		if err != nil || s.lost != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		b.readAs(testGroup, read, every)
	}
	if s, _, err := b.sampler().take(ctx); err != nil || s.lost != 0 || s.lag != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
