package detector

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/wire"
)

// A breaker fails one call, the nth from when it was made, and then lets everything pass. A call
// that is lost is not carried out; one whose reply is lost is.
type breaker struct {
	nth       int
	replyLost bool
}

func (b *breaker) call(do func() error) error {
	b.nth--
	if b.nth != 0 {
		return do()
	}
	if b.replyLost {
		_ = do()
	}
	return errDown
}

type brokenWindows struct {
	window.Store
	*breaker
}

func (w brokenWindows) Apply(ctx context.Context, ops []window.Op) (counts []window.Count, err error) {
	err = w.call(func() error { counts, err = w.Store.Apply(ctx, ops); return err })
	return counts, err
}

type brokenBlocks struct {
	store.Blocks
	*breaker
}

func (s brokenBlocks) Put(ctx context.Context, puts []store.Put) (results []store.Result, err error) {
	err = s.call(func() error { results, err = s.Blocks.Put(ctx, puts); return err })
	return results, err
}

type brokenCooldowns struct {
	cooldowns
	*breaker
}

func (c brokenCooldowns) Begin(ctx context.Context, markers []cooldown.Marker) (due []bool, err error) {
	err = c.call(func() error { due, err = c.cooldowns.Begin(ctx, markers); return err })
	return due, err
}

// TestPipelineStoreFailureIsRepairedAtRedelivery: wherever a store fails on the way of an attack,
// no match is acked and lost. What led to it is delivered again, and then the block is there and
// the alert is out: once, under its ID.
func TestPipelineStoreFailureIsRepairedAtRedelivery(t *testing.T) {
	t.Parallel()
	const rules = "rules: [{name: brute_force_login, threshold: 3}, {name: resource_enumeration, threshold: 3}]\n" +
		"escalate: {factor: 2, max_ttl: 24h, memory: 48h}\n"
	for name, tt := range map[string]struct {
		fault func(*bench, *breaker)
		nth   int
		want  string // verdicts of three failures, three visits and a failure of another client
	}{
		"windows":                  {func(b *bench, f *breaker) { b.windows = brokenWindows{b.windows, f} }, 1, "PPPPPPP"},
		"history of repeat blocks": {func(b *bench, f *breaker) { b.windows = brokenWindows{b.windows, f} }, 2, "DDPDDDD"},
		"blocks":                   {func(b *bench, f *breaker) { b.blocks = brokenBlocks{b.blocks, f} }, 1, "DDPDDDD"},
		"memory of the block":      {func(b *bench, f *breaker) { b.windows = brokenWindows{b.windows, f} }, 3, "DDPDDDD"},
		"cooldowns of alerts":      {func(b *bench, f *breaker) { b.cooldowns = brokenCooldowns{b.cooldowns, f} }, 1, "DDDDDPD"},
	} {
		for _, replyLost := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", reply lost"}[replyLost], func(t *testing.T) {
				t.Parallel()
				b := newBench(t, rules)
				tt.fault(b, &breaker{nth: tt.nth, replyLost: replyLost})
				batch := b.failures(3, "203.0.113.9")
				for _, path := range []string{"/u/1", "/u/2", "/u/3"} {
					batch = append(batch, b.entry("event_type", "http.response.success", "source.address", "203.0.113.7", "http.route", "/u/<id>", "url.path", path))
				}
				batch = append(batch, b.failures(1, "203.0.113.8")...)
				verdicts, err := b.handle(batch...)
				if verdicts != tt.want || err == nil {
					t.Fatalf("verdicts %s (%v), want %s and an error", verdicts, err, tt.want)
				}
				var left []consumer.Entry
				for i, verdict := range verdicts {
					if verdict == 'P' {
						left = append(left, batch[i])
					}
				}
				b.must(strings.Repeat("D", len(left)), left...)
				block, ok := b.blocked("ip", "203.0.113.9")
				if _, other := b.blocked("ip", "203.0.113.8"); !ok || other {
					t.Errorf("blocked: the attacker %t, the other client %t", ok, other)
				}
				emitted := map[string]string{}
				for _, e := range b.emitted {
					emitted[e.ID] = e.Type
				}
				if len(emitted) != 2 || emitted[block.ID] != wire.TypeBlockApplied || !slices.Contains(slices.Collect(maps.Values(emitted)), wire.TypeAlert) {
					t.Errorf("emitted %v, want the block %s and an alert", emitted, block.ID)
				}
			})
		}
	}
}
