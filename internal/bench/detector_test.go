package bench

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

// pythonEventsPerSecond is what the Python library's engine does at best
// beside Redis on a machine like those of CI, on events of the same mix.
const pythonEventsPerSecond = 1400

// TestBenchDetector measures a detector process against a stream that is full
// already: events per second, what they cost Redis and the process, memory.
func TestBenchDetector(t *testing.T) {
	binary := detectorBinary(t)
	n := size(200_000, 2000)
	for _, encoding := range []struct {
		name   string
		encode func([]string) []string
	}{{"flat", func(a []string) []string { return a }}, {"json", JSON}} {
		t.Run(encoding.name, func(t *testing.T) {
			env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
			fill(t, env.Client, n, encoding.encode)
			ctx := t.Context()
			commands := info(ctx, t, env.Client, "total_commands_processed")
			system, user := info(ctx, t, env.Client, "used_cpu_sys"), info(ctx, t, env.Client, "used_cpu_user")
			p := start(t, binary, env.URL, "")
			begin, done := begun(t, env.Client)
			drained(t, env.Client, n)
			seconds, rest := time.Since(begin).Seconds(), float64(n-done)
			used := cpu(t, p.cmd.Process.Pid)
			redisCPU := info(ctx, t, env.Client, "used_cpu_sys") - system + info(ctx, t, env.Client, "used_cpu_user") - user
			commands = info(ctx, t, env.Client, "total_commands_processed") - commands
			_, peak := p.memory(t)
			per := func(total float64) float64 { return total / float64(n) }
			name := "detector_" + encoding.name + "_"
			report(t, figure{Name: name + "throughput", Value: rest / seconds, Unit: "events/s", Floor: "the Python library's engine at its best, 1400 events/s", Ratio: rest / seconds / pythonEventsPerSecond, Samples: n - done})
			report(t, figure{Name: name + "cpu", Value: 1e6 * per(used), Unit: "us/event", Samples: n})
			report(t, figure{Name: name + "redis_cpu", Value: 1e6 * per(redisCPU), Unit: "us/event", Samples: n})
			report(t, figure{Name: name + "redis_commands", Value: per(commands), Unit: "commands/event", Samples: n})
			report(t, figure{Name: name + "redis_round_trips", Value: per(p.metric(t, "wardstream_redis_round_trips_total")), Unit: "round trips/event", Samples: n})
			report(t, figure{Name: name + "allocations", Value: per(p.metric(t, "go_memstats_mallocs_total")), Unit: "allocations/event", Samples: n})
			report(t, figure{Name: name + "memory", Value: peak / (1 << 20), Unit: "MiB resident, highest", Samples: 1})
		})
	}
}

// begun waits until the detector has read its first entries, and returns when
// that was and how many they were.
func begun(t *testing.T, client *redis.Client) (at time.Time, read int) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		groups, err := client.XInfoGroups(t.Context(), "audit:events").Result()
		if err != nil {
			return err
		}
		if len(groups) == 0 || groups[0].EntriesRead == 0 {
			return errors.New("nothing has been read yet")
		}
		at, read = time.Now(), int(groups[0].EntriesRead-groups[0].Pending)
		return nil
	})
	return at, read
}

// TestBenchDelay measures the time from XADD to the block being visible, beside a publisher of half
// the events per second that the detector just did at full load, all on the same machine.
func TestBenchDelay(t *testing.T) {
	binary := detectorBinary(t)
	half := saturated(t, binary) / 2
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	start(t, binary, env.URL, "")
	attacks := size(300, 5)
	stop, published := make(chan struct{}), make(chan int)
	began := time.Now()
	go func() { published <- load(t, env.Client, stop, half, NewWorkload(2).Next) }()
	delays := make([]time.Duration, 0, attacks)
	for i := range attacks {
		address := fmt.Sprintf("198.51.%d.%d", 100+i/250, 1+i%250)
		begin := attack(t, env.Client, address)
		key := "wardstream:block:ip:" + address
		for env.Client.Exists(t.Context(), key).Val() == 0 && time.Since(begin) < 30*time.Second {
		}
		delays = append(delays, time.Since(begin))
	}
	close(stop)
	reached := float64(<-published) / time.Since(began).Seconds()
	report(t, figure{
		Name: "detection_delay_load", Value: reached, Unit: "events/s published", Samples: attacks,
		Floor: fmt.Sprintf("half the load, %.0f events/s", half), Ratio: reached / half,
	})
	report(t, figure{Name: "detection_delay_p50", Value: quantile(delays, .5), Unit: "us from XADD to the block being visible", Samples: attacks})
	report(t, figure{Name: "detection_delay_p99", Value: quantile(delays, .99), Unit: "us from XADD to the block being visible", Samples: attacks})
}

// saturated returns how many events per second the detector does of a stream that is full already.
func saturated(t *testing.T, binary string) float64 {
	t.Helper()
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	n := size(100_000, 2000)
	fill(t, env.Client, n, func(a []string) []string { return a })
	p := start(t, binary, env.URL, "")
	begin, done := begun(t, env.Client)
	drained(t, env.Client, n)
	rate := float64(n-done) / time.Since(begin).Seconds()
	p.kill()
	env.Kill()
	return rate
}

// attack publishes five failed logins and returns when the last was sent.
func attack(t *testing.T, client *redis.Client, address string) time.Time {
	t.Helper()
	for range 4 {
		failure(t, client, address)
	}
	begin := time.Now()
	failure(t, client, address)
	return begin
}

func failure(t *testing.T, client *redis.Client, address string) {
	t.Helper()
	values := []any{"event_type", "auth.login.failed", "source.address", address, "user.name", "eve"}
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "audit:events", Values: values}).Err(); err != nil {
		t.Fatal(err)
	}
}

// maxPipelined is how many events are published in one round trip at most.
const maxPipelined = 2000

// load publishes perSecond events until stop is closed, and returns how many they were. What a late
// tick left out comes with the next.
func load(t *testing.T, client *redis.Client, stop <-chan struct{}, perSecond float64, next func() []string) (published int) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; {
		select {
		case <-stop:
			return published
		case <-tick.C:
		}
		due := min(int(perSecond*time.Since(begin).Seconds())-published, maxPipelined)
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range due {
				p.XAdd(t.Context(), &redis.XAddArgs{Stream: "audit:events", Values: next()})
			}
			return nil
		})
		if err != nil {
			t.Errorf("load: %v", err)
			return published
		}
		published += due
	}
}
