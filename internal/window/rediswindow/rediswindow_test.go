package rediswindow_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/rediswindow"
	"github.com/wardstream/wardstream/internal/window/windowtest"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestConformance(t *testing.T) {
	t.Parallel()
	windowtest.Run(t, func(t *testing.T) func() window.Store {
		env := testenv.Redis(t)
		return func() window.Store { return rediswindow.New(env.Client, env.Prefix, nil) }
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	windowtest.Model(t, func(t *testing.T) func() window.Store {
		env := testenv.Redis(t)
		return func() window.Store { return rediswindow.New(env.Client, env.Prefix, nil) }
	})
}

func TestConformanceOnMiniredis(t *testing.T) {
	t.Parallel()
	windowtest.Run(t, func(t *testing.T) func() window.Store {
		client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { _ = client.Close() })
		return func() window.Store { return rediswindow.New(client, "p", nil) }
	})
}

func ops(n int, spec *window.Spec) []window.Op {
	out := make([]window.Op, n)
	for i := range out {
		out[i] = window.Op{Spec: spec, Group: fmt.Sprint("198.51.100.", i), Time: time.Now(), Member: fmt.Sprint(i)}
	}
	return out
}

func TestBatchIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	s := rediswindow.New(env.Client, env.Prefix, nil)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Minute}
	if _, err := s.Apply(t.Context(), ops(1, spec)); err != nil { // loads the script
		t.Fatal(err)
	}
	trips := 0
	env.Client.AddHook(counter{&trips})
	if _, err := s.Apply(t.Context(), ops(200, spec)); err != nil {
		t.Fatal(err)
	}
	if trips != 1 {
		t.Fatalf("%d round trips, want 1", trips)
	}
}

// TestOperationsOnOneWindowAreMerged: however many of a batch touch a window,
// Redis is asked to add to it once and to return it once.
func TestOperationsOnOneWindowAreMerged(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Minute}
	batch := ops(6, spec)
	for i := range batch {
		batch[i].Group = "g"
	}
	if err := env.Client.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	counts, err := rediswindow.New(env.Client, env.Prefix, nil).Apply(t.Context(), batch)
	if err != nil || !slices.Equal(window.Sizes(counts), []int{1, 2, 3, 4, 5, 6}) {
		t.Fatalf("counts %v (%v)", counts, err)
	}
	stats := env.Client.Info(t.Context(), "commandstats").Val()
	for _, command := range []string{"append", "getex"} {
		if !strings.Contains(stats, "cmdstat_"+command+":calls=1,") {
			t.Errorf("%s was not called exactly once:\n%s", command, stats)
		}
	}
}

// TestCompactionLosesNothing has two workers fill a window that both of them
// compact, and asks a third how much it holds.
func TestCompactionLosesNothing(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	spec := &window.Spec{Name: "r", Threshold: 100, Length: time.Minute}
	var workers sync.WaitGroup
	begin := time.Now()
	for worker := range 2 {
		s := rediswindow.New(env.Client, env.Prefix, nil)
		workers.Go(func() {
			for i := range 2000 { // each worker's last members are of the last 100 ms of the window
				member := fmt.Sprint(worker, "/", i)
				op := window.Op{Spec: spec, Group: "g", Time: begin.Add(time.Duration(i) * time.Millisecond), Member: member}
				if _, err := s.Apply(t.Context(), []window.Op{op}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	reads := make([]window.Op, spec.Capacity()/2) // two members a millisecond, the newest kept
	want := make([]int, len(reads))
	for i := range reads {
		reads[i] = window.Op{Spec: spec, Group: "g", Kind: window.Read, Time: begin.Add(time.Duration(1999-i) * time.Millisecond)}
		want[i] = spec.Capacity() - 2*i
	}
	counts, err := rediswindow.New(env.Client, env.Prefix, nil).Apply(t.Context(), reads)
	if err != nil || !slices.Equal(window.Sizes(counts), want) {
		t.Fatalf("counts %v (%v), want %v", counts, err, want)
	}
}

// TestConcurrentWorkersKeepEveryClear has four workers handle an office's failures and successes at
// the same time, in any order: when all is handled, no failure stands that its success took back.
func TestConcurrentWorkersKeepEveryClear(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Hour, Lateness: time.Hour}
	begin := time.Now()
	var all []window.Op
	for i := range 1000 {
		op := window.Op{Spec: spec, Group: "g", Time: begin.Add(time.Duration(i) * time.Second), Member: fmt.Sprint(i), Tag: fmt.Sprint("user", i)}
		success := op
		success.Kind, success.Time = window.Clear, op.Time.Add(time.Second)
		all = append(all, op, success)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var workers sync.WaitGroup
	for share := range slices.Chunk(all, len(all)/4) {
		s := rediswindow.New(env.Client, env.Prefix, nil)
		workers.Go(func() {
			for batch := range slices.Chunk(share, 7) {
				if _, err := s.Apply(t.Context(), batch); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	s := rediswindow.New(env.Client, env.Prefix, nil)
	attack := make([]window.Op, 5)
	for i := range attack {
		attack[i] = window.Op{Spec: spec, Group: "g", Time: begin.Add(1000 * time.Second), Member: fmt.Sprint("m", i), Tag: "mallory"}
	}
	for i := range attack { // one by one, so that the fifth is confirmed
		counts, err := s.Apply(t.Context(), attack[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		if i == 4 && counts[0].Size != 5 {
			t.Fatalf("the fifth failure counts %d, want 5", counts[0].Size)
		}
	}
}

// TestClearsAreBoundedAndCounted floods a window with clears of more tags than it remembers.
func TestClearsAreBoundedAndCounted(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	metrics, err := rediswindow.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s := rediswindow.New(env.Client, env.Prefix, metrics)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Minute, Lateness: time.Minute, MaxClears: 100}
	slack := int64(2*spec.Capacity() + 2) // what comes between two compactions
	begin := time.Now()
	for i := range 300 {
		op := window.Op{Spec: spec, Group: "g", Kind: window.Clear, Time: begin.Add(time.Duration(i) * time.Millisecond), Tag: fmt.Sprint(i)}
		if _, err := s.Apply(t.Context(), []window.Op{op}); err != nil {
			t.Fatal(err)
		}
	}
	late := window.Op{Spec: spec, Group: "g", Time: begin, Member: "late", Tag: "0"}
	if counts, err := s.Apply(t.Context(), []window.Op{late}); err != nil || counts[0].Size != 0 {
		t.Fatalf("counts %v (%v), want none", counts, err)
	}
	if dropped, spared := testutil.ToFloat64(metrics.ClearsDropped), testutil.ToFloat64(metrics.MembersSpared); dropped < 200-float64(slack) || dropped > 200 || spared != 1 {
		t.Errorf("%v clears dropped and %v members spared, want 200 (%d less at most) and 1", dropped, spared, slack)
	}
	for _, key := range env.Client.Keys(t.Context(), env.Prefix+":*").Val() {
		if ttl := env.Client.PTTL(t.Context(), key).Val(); ttl <= spec.TTL()-time.Minute || ttl > spec.TTL() {
			t.Errorf("%s has a TTL of %s, want up to %s", key, ttl, spec.TTL())
		}
		if strings.Contains(key, ":clears:") {
			if n := env.Client.ZCard(t.Context(), key).Val(); n < 100 || n > 101+slack {
				t.Errorf("%d clears, want 100 and at most %d more", n, slack)
			}
		}
	}
}

func TestEveryWindowExpiresAndStaysSmall(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	s := rediswindow.New(env.Client, env.Prefix, nil)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Minute}
	for i := range 100 {
		if _, err := s.Apply(t.Context(), []window.Op{{Spec: spec, Group: "g", Time: time.Now(), Member: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := env.Client.Keys(t.Context(), env.Prefix+":*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	if ttl := env.Client.PTTL(t.Context(), keys[0]).Val(); ttl <= spec.TTL()-time.Minute || ttl > spec.TTL() {
		t.Fatalf("TTL %s, want up to %s", ttl, spec.TTL())
	}
	if size := env.Client.StrLen(t.Context(), keys[0]).Val(); size > int64((2*spec.Capacity()+2)*window.RecordSize) {
		t.Fatalf("%d bytes for a capacity of %d", size, spec.Capacity())
	}
}

func TestWrongTypeIsAnError(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	s := rediswindow.New(env.Client, env.Prefix, nil)
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Minute}
	env.Client.LPush(t.Context(), env.Prefix+":window:"+spec.ID()+":198.51.100.0", "x")
	if _, err := s.Apply(t.Context(), ops(1, spec)); err == nil {
		t.Fatal("no error though the window's key holds a list")
	}
}

func TestRefusedConnectionIsAnError(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t, "--requirepass", "right")
	opts, err := redis.ParseURL(env.URL)
	if err != nil {
		t.Fatal(err)
	}
	opts.Username, opts.Password = "", "wrong"
	client := redis.NewClient(opts)
	t.Cleanup(func() { _ = client.Close() })
	spec := &window.Spec{Name: "r", Threshold: 5, Length: time.Minute}
	if counts, err := rediswindow.New(client, "p", nil).Apply(t.Context(), ops(2, spec)); err == nil {
		t.Fatalf("counts %v though Redis refused the password", counts)
	}
}

func BenchmarkApply(b *testing.B) {
	env := testenv.Redis(b)
	s := rediswindow.New(env.Client, env.Prefix, nil)
	for _, kind := range []struct {
		threshold, clears int
	}{{5, 0}, {5, window.NeverCleared}, {20, window.NeverCleared}} {
		b.Run(fmt.Sprintf("threshold=%d/clears=%t", kind.threshold, kind.clears == 0), func(b *testing.B) {
			spec := &window.Spec{Name: "r", Threshold: kind.threshold, Length: 5 * time.Minute, Lateness: 5 * time.Minute, MaxClears: kind.clears}
			batch := ops(400, spec)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch {
					n++
					batch[i].Member = fmt.Sprint(n)
				}
				if _, err := s.Apply(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "windows/s")
		})
	}
}
