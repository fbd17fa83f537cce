// Package demo is Wardstream in one process, without Redis, Postgres or
// configuration: [Run] has visitors and attackers meet a small shop and shows the
// attackers being found, blocked and denied; [Dev] stays up for one's own application.
//
// What is shown has happened: every request goes to a real ingress-check over HTTP,
// every event into a real stream with XADD, and the worker is the one that detector
// run starts. Only the people are made up (actors.go), and Redis is miniredis.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Options are what a demo is made of.
type Options struct {
	Duration time.Duration // about how long it takes; a second at least
	Seed     uint64        // of the actors and what they do
	Output   Output
}

// Output says where a demo writes, and how.
type Output struct {
	Stdout  io.Writer
	Getenv  func(string) string // read for NO_COLOR and TERM
	JSON    bool                // one object a line
	Quiet   bool                // nothing but the summary
	Log     *slog.Logger        // of the worker and of ingress-check
	Version string
}

// printer makes the printer that o asks for.
func (o *Output) printer(clock func(time.Time) string, total time.Duration) printer {
	var p printer = &text{screen: newScreen(o.Stdout, o.Getenv), clock: clock, total: total}
	if o.JSON {
		p = lines{o.Stdout}
	}
	if o.Quiet {
		p = quiet{p}
	}
	return p
}

// overtime is how much longer a demo may take on a machine so busy that some
// attacker hasn't been caught yet.
const overtime = 15 * time.Second

var errTooShort = errors.New("must be at least 1s")

// Run plays the demo until it is over or ctx ends. It reports whether every
// attacker was blocked and no visitor was. An error says that it could not be played.
func Run(ctx context.Context, o Options) (ok bool, err error) {
	if o.Duration < time.Second {
		return false, fmt.Errorf("--duration %s: %w", o.Duration, errTooShort)
	}
	cfg, err := builtinConfig()
	if err != nil {
		return false, err
	}
	cfg.HTTP.Addr = "127.0.0.1:0"
	w, err := newWorld(ctx, cfg, place{redisAddr: "127.0.0.1:0", ingressAddr: "127.0.0.1:0", log: o.Output.Log, version: o.Output.Version})
	if err != nil {
		return false, err
	}
	defer w.close()
	start := time.Now()
	p := o.Output.printer(func(t time.Time) string { return fmt.Sprintf("%5.1fs", t.Sub(start).Seconds()) }, o.Duration)
	defer p.close()
	if err := p.start(demoHead(w, o)); err != nil {
		return false, err
	}
	return play(ctx, w, p, o, start)
}

func demoHead(w *world, o Options) head {
	h := w.head()
	h.Title = fmt.Sprintf("Wardstream demo: 5 visitors and 4 attackers in a small shop, %s, seed %d", o.Duration, o.Seed)
	h.Invite = "Join in from another terminal: fail to log in, then ask at ingress."
	h.Seed, h.Seconds = &o.Seed, o.Duration.Seconds()
	return h
}

// play has all actors act, and prints what happens.
func play(ctx context.Context, w *world, p printer, o Options, start time.Time) (bool, error) {
	actors := newActors(o.Seed)
	books := newLedger(actors)
	stage := raise(ctx, w, actors, min(1, o.Duration.Seconds()/fullPace.Seconds()))
	over, late := time.After(o.Duration), time.After(o.Duration+overtime)
	due := false
	var failed error
	for more := true; more; {
		var h happening
		select {
		case h, more = <-stage.happened:
			failed = errors.Join(failed, record(p, books, h))
		case <-over:
			due = true
		case <-late:
			stage.end()
		}
		if failed != nil || due && books.settled() {
			stage.end()
		}
	}
	if err := errors.Join(failed, stage.err); err != nil {
		return false, err
	}
	s := books.summary(time.Since(start), ctx.Err() != nil)
	s.Uncounted = w.worker.Uncounted()
	if err := p.summary(s); err != nil {
		return false, err
	}
	return s.OK, nil
}

// record enters what happened into the books and prints it.
func record(p printer, books *ledger, h happening) error {
	var reports []report
	switch {
	case h.visit != nil:
		reports = []report{books.visited(*h.visit)}
	case h.sighting != nil:
		reports = books.sighted(*h.sighting)
	}
	for _, r := range reports {
		if err := p.report(r); err != nil {
			return err
		}
	}
	return nil
}
