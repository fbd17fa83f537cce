package consumer

import (
	"context"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// BenchmarkReadAndAck has a worker read and ack a stream of entries of ten fields;
// its handler does nothing.
func BenchmarkReadAndAck(b *testing.B) {
	bench := newFixture(b)
	ctx := context.Background()
	values := make([]string, 0, 20)
	for j := range 10 {
		values = append(values, "http.request.header"+strconv.Itoa(j), "a value of usual length")
	}
	for left := b.N; left > 0; {
		pipe := bench.client.Pipeline()
		n := min(left, 1000)
		for range n {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: bench.stream, Values: values})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
		left -= n
	}
	o := bench.options()
	o.BatchSize = DefaultBatchSize
	done := make(chan struct{})
	handled := 0
	h := &counter{func(n int) {
		if handled += n; handled == b.N {
			close(done)
		}
	}}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	w := bench.start(o, h)
	<-done
	w.cancel()
	_ = w.wait()
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/entry")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// cpuTime is the processor time this process has used, which other processes
// don't lengthen as they do the time by the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A counter is a handler that only counts.
type counter struct{ count func(n int) }

func (p *counter) Handle(_ context.Context, _ *Turn, batch []Entry) ([]Verdict, error) {
	p.count(len(batch))
	return all(batch, Done), nil
}
