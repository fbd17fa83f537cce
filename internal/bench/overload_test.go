package bench

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

// overload is for how long each mode is overloaded; without it the test only shows that it runs.
var (
	overload       = flag.Duration("overload", 0, "overload the detector for so long, in order and shedding, and print figures")
	overloadFactor = flag.Float64("overload-factor", 3, "how many times the events that the detector can do are published")
)

// The worker may use so much processor time in each period, and is stopped for the rest of it, as a
// CPU quota does: so three times what it can do for minutes fits into memory.
const (
	quotaPeriod = 2 * time.Second
	quota       = 0.1              // seconds of processor time
	overloadLag = 10 * time.Second // stream.max_lag
)

// TestOverload publishes three times the events that a slowed worker can handle, nine of ten of
// them benign, and an attacker every few seconds.
func TestOverload(t *testing.T) {
	binary := detectorBinary(t)
	duration, every, calibrate := 500*time.Millisecond, 200*time.Millisecond, 1000
	if *overload > 0 {
		duration, every, calibrate = *overload, 5*time.Second, 40_000
	}
	capacity := throttled(t, binary, calibrate)
	printFigures(t, "the worker, on %.0f %% of a processor, handles %.0f events/s; %.0f/s are published", 100*quota/quotaPeriod.Seconds(), capacity, *overloadFactor*capacity)
	for _, mode := range []string{"in_order", "shed"} {
		t.Run(mode, func(t *testing.T) {
			env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no", "--maxmemory", "6gb", "--maxmemory-policy", "noeviction")
			p := start(t, binary, env.URL, fmt.Sprintf("stream: {retention: 1m, max_lag: %s, overload: %s}\nblocks: {default_ttl: 1h}\n", overloadLag, mode))
			joined(t, env.Client)
			defer throttle(t, p)()
			stop, published := make(chan struct{}), make(chan int)
			next := mostlyBenign()
			publisher := patient(t, env)
			go func() { published <- load(t, publisher, stop, *overloadFactor*capacity, next) }()
			o := &observer{t: t, client: env.Client, worker: p, began: time.Now()}
			o.watch(duration, every)
			close(stop)
			printFigures(t, "%s: %d events published, %d attackers", mode, <-published, len(o.delays)+len(o.waiting))
			if *overload == 0 {
				testenv.Eventually(t, time.Minute, o.allBlocked)
			}
		})
	}
}

// printFigures prints where figures are wanted, else logs.
func printFigures(t *testing.T, format string, args ...any) {
	t.Helper()
	if *overload > 0 {
		fmt.Printf(format+"\n", args...)
		return
	}
	t.Logf(format, args...)
}

// patient is a client that outlasts a machine that has other things to do.
func patient(t *testing.T, env *testenv.PrivateRedisEnv) *redis.Client {
	t.Helper()
	o := *env.Client.Options()
	o.ReadTimeout, o.WriteTimeout = time.Minute, time.Minute
	client := redis.NewClient(&o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// mostlyBenign is the workload with nine successes in ten events.
func mostlyBenign() func() []string {
	work, random := NewWorkload(3), rand.New(rand.NewPCG(3, 0))
	return func() []string {
		for {
			fields := work.Next()
			if fields[7] == "http.response.success" || random.IntN(6) == 0 {
				return fields
			}
		}
	}
}

// joined waits until the detector has made its group.
func joined(t *testing.T, client *redis.Client) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error { return client.XInfoConsumers(t.Context(), "audit:events", "detectors").Err() })
}

// throttled returns how many events per second the slowed worker handles.
func throttled(t *testing.T, binary string, n int) float64 {
	t.Helper()
	env := testenv.PrivateRedis(t, "--save", "", "--appendonly", "no")
	next := mostlyBenign()
	fill(t, env.Client, n, func([]string) []string { return next() })
	p := start(t, binary, env.URL, "")
	defer throttle(t, p)()
	begin, done := begun(t, env.Client)
	drained(t, env.Client, n)
	defer env.Kill()
	defer p.kill()
	return float64(n-done) / time.Since(begin).Seconds()
}

// throttle holds the process to its quota, until the returned function is called. Where no figures
// are wanted it doesn't.
func throttle(t *testing.T, p *process) func() {
	t.Helper()
	if *overload == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			end, used := time.Now().Add(quotaPeriod), cpu(t, p.cmd.Process.Pid)
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
			for ctx.Err() == nil && time.Now().Before(end) && cpu(t, p.cmd.Process.Pid) < used+quota {
				pause(ctx, 2*time.Millisecond)
			}
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			pause(ctx, time.Until(end))
		}
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// An observer attacks now and then, and watches what becomes of it.
type observer struct {
	t       *testing.T
	client  *redis.Client
	worker  *process
	began   time.Time
	waiting []attacker
	delays  []time.Duration // of those that are blocked
}

type attacker struct {
	address string
	at      time.Time
}

// watch makes an attack and prints a line every so often.
func (o *observer) watch(duration, every time.Duration) {
	o.t.Helper()
	printFigures(o.t, "%8s %9s %9s %8s %9s %9s %9s %12s %9s", "seconds", "lag", "age s", "RSS MiB", "Redis MiB", "acked/s", "shed/s", "delay s", "waiting")
	tick := time.NewTicker(every)
	defer tick.Stop()
	acked, shed := 0.0, 0.0
	for time.Since(o.began) < duration {
		address := fmt.Sprintf("192.0.%d.%d", len(o.delays)/250, 1+(len(o.delays)+len(o.waiting))%250)
		o.waiting = append(o.waiting, attacker{address, attack(o.t, o.client, address)})
		for due := false; !due; {
			select {
			case <-tick.C:
				due = true
			case <-time.After(20 * time.Millisecond):
			}
			_ = o.allBlocked()
		}
		wasAcked, wasShed := acked, shed
		acked, shed = o.worker.metric(o.t, "wardstream_entries_acked_total"), o.worker.metric(o.t, `wardstream_events_skipped_total{reason="shed"}`)
		o.line(every, acked-wasAcked, shed-wasShed)
	}
}

// allBlocked notes which attackers are blocked by now, and reports whether one is not.
func (o *observer) allBlocked() error {
	still := o.waiting[:0:0]
	for _, a := range o.waiting {
		if o.client.Exists(context.Background(), "wardstream:block:ip:"+a.address).Val() == 0 {
			still = append(still, a)
			continue
		}
		o.delays = append(o.delays, time.Since(a.at))
	}
	if o.waiting = still; len(still) > 0 {
		return fmt.Errorf("%d attackers are not blocked", len(still))
	}
	return nil
}

func (o *observer) line(every time.Duration, acked, shed float64) {
	o.t.Helper()
	rss, _ := o.worker.memory(o.t)
	delay := "none"
	if n := len(o.delays); n > 0 {
		delay = fmt.Sprintf("%.1f", o.delays[n-1].Seconds())
	}
	lag, age := o.lag()
	printFigures(o.t, "%8.0f %9d %9.1f %8.0f %9.0f %9.0f %9.0f %12s %9d", time.Since(o.began).Seconds(), lag, age.Seconds(), rss/(1<<20),
		info(o.t.Context(), o.t, o.client, "used_memory")/(1<<20), acked/every.Seconds(), shed/every.Seconds(), delay, len(o.waiting))
}

// lag is how many entries are unread or pending, and how old the oldest is.
func (o *observer) lag() (int64, time.Duration) {
	o.t.Helper()
	ctx := o.t.Context()
	groups, err := o.client.XInfoGroups(ctx, "audit:events").Result()
	if err != nil || len(groups) == 0 {
		return 0, 0
	}
	oldest := ""
	if next := o.client.XRangeN(ctx, "audit:events", "("+groups[0].LastDeliveredID, "+", 1).Val(); len(next) > 0 {
		oldest = next[0].ID
	}
	if p, err := o.client.XPending(ctx, "audit:events", "detectors").Result(); err == nil && p.Count > 0 {
		oldest = p.Lower
	}
	ms, _, _ := strings.Cut(oldest, "-")
	at, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return 0, 0
	}
	return groups[0].Lag + groups[0].Pending, time.Since(time.UnixMilli(at))
}
