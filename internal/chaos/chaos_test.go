package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/rs/zerolog"

	"github.com/wardstream/wardstream/internal/testenv"
)

var (
	rounds = flag.Int("rounds", 3, "rounds of faults")
	seed   = flag.Uint64("seed", 1, "what everything is drawn from; 0 draws the seed, too")
	only   = flag.String("faults", "", "only faults whose names start with one of these, separated by commas")
	first  = flag.Int("first", 0, "the round to start with")
)

func TestMain(m *testing.M) {
	logging.Disable() // the harness' own client loses its connections on purpose
	zerolog.SetGlobalLevel(zerolog.Disabled)
	os.Exit(testenv.Main(m))
}

// TestChaos makes faults and compares what comes of them with what must.
func TestChaos(t *testing.T) {
	t.Parallel()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	all := faults(*only)
	if len(all) == 0 {
		t.Fatalf("no fault is called %q", *only)
	}
	w := newWorld(t, *seed, false)
	tally := map[string]int{}
	for n := *first; n < *first+*rounds; n++ {
		begin := time.Now()
		chosen := choose(all, n, rand.New(rand.NewPCG(*seed, uint64(n))))
		events := w.round(n, chosen)
		if t.Failed() {
			return
		}
		for _, f := range chosen {
			tally[f.name]++
		}
		fmt.Fprintf(os.Stderr, "chaos: round %d (%d of %d): %s: %d events, %.1f s\n", n, n-*first+1, *rounds, names(chosen), events, time.Since(begin).Seconds())
	}
	for _, f := range all {
		fmt.Fprintf(os.Stderr, "chaos: %4d rounds: %s\n", tally[f.name], f.name)
	}
	fmt.Fprintf(os.Stderr, "chaos: seed %d; %d scopes; %d keys evicted; at most %v goroutines, %v files, %.0f MB and %v shed entries a worker\n",
		*seed, len(w.oracle.scopes), w.evicted, w.peak.goroutines, w.peak.files, w.peak.memory/(1<<20), w.peak.shed)
}

// TestChaosFailover has Sentinel promote a replica that lacks the last writes, in the second of
// three rounds.
func TestChaosFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, *seed, true)
	for n, f := range []fault{processFaults()[0], {name: "redis fails over", do: failOver, alone: true}, processFaults()[0]} {
		w.round(n, []fault{f})
		if t.Failed() {
			return
		}
	}
}

// round publishes, makes faults meanwhile, undoes them, and compares.
func (w *world) round(n int, chosen []fault) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	w.line.add("round %d: %s", n, names(chosen))
	w.oracle.uneven = strings.Contains(names(chosen), "postgres")
	p := w.plan(n, rand.New(rand.NewPCG(w.seed, uint64(n)<<1)))
	random := rand.New(rand.NewPCG(w.seed, uint64(n)<<1+1))
	var published atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.publish(ctx, p, &published)
	}()
	undo, unblocked := w.make(ctx, chosen, random, len(p.events), &published), func() {}
	if w.sentinel == nil { // a failover may lose what was reported to an operator as done
		w.publishing.Lock()
		unblocked = w.unblockSome(ctx, n, random)
		w.publishing.Unlock()
	}
	if len(undo) > 0 {
		wait(between(random, 50*time.Millisecond, 1500*time.Millisecond))
	}
	w.undo(undo)
	w.line.add("all is undone, after %d of %d events", published.Load(), len(p.events))
	<-done
	unblocked()
	w.line.add("all is published")
	w.compare(ctx)
	w.oracle.settle()
	w.settleLosses()
	if w.ahead {
		w.renew(ctx)
	}
	return len(p.events)
}

// make makes the faults one after the other, each once a part of the events is published, and
// returns what undoes them.
func (w *world) make(ctx context.Context, chosen []fault, random *rand.Rand, events int, published *atomic.Int64) (undo []func() error) {
	for i, f := range chosen {
		due := int64(events) * int64(1+i*3+random.IntN(4)) / 10
		for deadline := time.Now().Add(2 * time.Second); published.Load() < due && time.Now().Before(deadline); {
			wait(time.Millisecond)
		}
		w.line.add("%s, after %d of %d events", f.name, published.Load(), events)
		back, err := f.do(ctx, w, random)
		switch {
		case err != nil && i == 0:
			w.fail("%s: %v", f.name, err)
		case err != nil:
			w.line.add("that can't be while there is %s: %v", chosen[0].name, err)
		}
		if back != nil {
			undo = append(undo, back)
		}
	}
	return undo
}

// undo undoes faults, the last first. What serves to undo one may be broken by another, so that
// some take more than one try.
func (w *world) undo(faults []func() error) {
	slices.Reverse(faults)
	var errs []error
	for deadline := time.Now().Add(30 * time.Second); len(faults) > 0 && time.Now().Before(deadline); wait(20 * time.Millisecond) {
		errs = nil
		faults = slices.DeleteFunc(faults, func(back func() error) bool {
			err := back()
			if err != nil {
				errs = append(errs, err)
			}
			return err == nil
		})
	}
	if len(errs) > 0 {
		w.fail("undo: %v", errors.Join(errs...))
	}
}

// compare waits until the world is as the oracle says, and fails if it doesn't come to that.
func (w *world) compare(ctx context.Context) {
	w.oracle.judge()
	var found []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; wait(100 * time.Millisecond) {
		if found = append(w.failed(), w.check(ctx)...); len(found) == 0 || len(w.failed()) > 0 {
			break
		}
	}
	if len(found) > 0 {
		w.report(found)
	}
}

// report fails the test, and says all that helps to find out why.
func (w *world) report(found []string) {
	slices.Sort(found)
	var logs strings.Builder
	for _, d := range w.running() {
		fmt.Fprintf(&logs, "log of %s:\n%s\n", d.name, d.Log())
	}
	const shown = 30
	w.t.Errorf("seed %d:\n%s\n(%d in all)\n\ntimeline:\n%s\n\n%s", w.seed, strings.Join(found[:min(len(found), shown)], "\n"), len(found), w.line, &logs)
}
