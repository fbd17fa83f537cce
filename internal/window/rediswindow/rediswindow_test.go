package rediswindow_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
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
		return func() window.Store { return rediswindow.New(env.Client, env.Prefix) }
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	windowtest.Model(t, func(t *testing.T) func() window.Store {
		env := testenv.Redis(t)
		return func() window.Store { return rediswindow.New(env.Client, env.Prefix) }
	})
}

func TestConformanceOnMiniredis(t *testing.T) {
	t.Parallel()
	windowtest.Run(t, func(t *testing.T) func() window.Store {
		client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { _ = client.Close() })
		return func() window.Store { return rediswindow.New(client, "p") }
	})
}

func ops(n int, spec *window.Spec) []window.Op {
	out := make([]window.Op, n)
	for i := range out {
		out[i] = window.Op{Spec: spec, Group: fmt.Sprint("198.51.100.", i), Time: time.Now(), Member: fmt.Sprint(i)}
	}
	return out
}

func TestABatchIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	s := rediswindow.New(env.Client, env.Prefix)
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
	counts, err := rediswindow.New(env.Client, env.Prefix).Apply(t.Context(), batch)
	if err != nil || !slices.Equal(counts, []int{1, 2, 3, 4, 5, 6}) {
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
		s := rediswindow.New(env.Client, env.Prefix)
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
	counts, err := rediswindow.New(env.Client, env.Prefix).Apply(t.Context(), reads)
	if err != nil || !slices.Equal(counts, want) {
		t.Fatalf("counts %v (%v), want %v", counts, err, want)
	}
}

func TestEveryWindowExpiresAndStaysSmall(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	s := rediswindow.New(env.Client, env.Prefix)
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
	s := rediswindow.New(env.Client, env.Prefix)
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
	if counts, err := rediswindow.New(client, "p").Apply(t.Context(), ops(2, spec)); err == nil {
		t.Fatalf("counts %v though Redis refused the password", counts)
	}
}

func BenchmarkApply(b *testing.B) {
	env := testenv.Redis(b)
	s := rediswindow.New(env.Client, env.Prefix)
	for _, threshold := range []int{5, 20} {
		b.Run(fmt.Sprint("threshold=", threshold), func(b *testing.B) {
			spec := &window.Spec{Name: "r", Threshold: threshold, Length: 5 * time.Minute, Lateness: 5 * time.Minute}
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
