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
			p := start(t, binary, env.URL)
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

// TestBenchDelay measures the time from XADD to the block being visible, at
// about half the load that the detector can take.
func TestBenchDelay(t *testing.T) {
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	start(t, detectorBinary(t), env.URL)
	attacks := size(300, 5)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		load(t, env.Client, stop, size(20_000, 200))
	}()
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
	<-ended
	report(t, figure{Name: "detection_delay_p50", Value: quantile(delays, .5), Unit: "us from XADD to the block being visible", Samples: attacks})
	report(t, figure{Name: "detection_delay_p99", Value: quantile(delays, .99), Unit: "us from XADD to the block being visible", Samples: attacks})
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

// load publishes perSecond events of the workload until stop is closed.
func load(t *testing.T, client *redis.Client, stop <-chan struct{}, perSecond int) {
	work := NewWorkload(2)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range perSecond / 100 {
				p.XAdd(t.Context(), &redis.XAddArgs{Stream: "audit:events", Values: work.Next()})
			}
			return nil
		})
		if err != nil {
			t.Errorf("load: %v", err)
			return
		}
	}
}
