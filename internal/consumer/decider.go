package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/sourcegraph/conc/panics"
)

// Reasons of dead letters that the consumer gives itself. What precedes a colon
// is the class in metrics.
const (
	reasonPanic      = "panic"
	reasonFailed     = "failed"
	reasonKilled     = "killed the worker"
	reasonUnreadable = "oversized: too large to be read"
)

var errVerdicts = errors.New("the handler returned a wrong number of verdicts")

// A decider calls the handler and notes its verdicts. An entry is pending until the handler says
// otherwise.
type decider struct {
	*member
	handler       Handler
	maxDeliveries int
	pressure      *backpressure
}

// decide has items handled and notes their verdicts. If the handler panics each is
// handled by itself, and the one that panics then is dead. The error is that of the
// infrastructure, already logged.
func (d *decider) decide(ctx context.Context, turn *Turn, items []*item) error {
	if len(items) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	verdicts, panicked, err := d.call(ctx, turn, items)
	switch {
	case panicked != "" && len(items) > 1:
		return d.decideSingly(ctx, turn, items)
	case panicked != "":
		items[0].verdict = Verdict{Status: Dead, Reason: panicked}
		return nil
	case len(verdicts) == len(items):
		d.note(items, verdicts, err)
	case err == nil:
		err = errVerdicts
	}
	if err != nil {
		d.pressure.observe(err)
		d.metrics.batchErrors.Inc()
		d.log.Warn("handling a batch failed; what is undone will be handled again", "error", err, "entries", len(items))
	}
	return err
}

// decideSingly stops at the first failure of the infrastructure: the rest would
// wait for it too.
func (d *decider) decideSingly(ctx context.Context, turn *Turn, items []*item) error {
	for i := range items {
		items[i].Tried = true
		if err := d.decide(ctx, turn, items[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// note takes down verdicts. Where nothing failed but an entry is left pending, the
// entry itself has failed; that it may do maxDeliveries times.
func (d *decider) note(items []*item, verdicts []Verdict, err error) {
	for i, it := range items {
		if verdicts[i].Status == Done || verdicts[i].Status == Dead {
			it.verdict = verdicts[i]
		}
		if it.verdict.Status != Pending || err != nil {
			continue
		}
		if it.failures++; it.failures >= d.maxDeliveries {
			it.verdict = Verdict{Status: Dead, Reason: fmt.Sprintf("%s: left pending %d times", reasonFailed, it.failures)}
			continue
		}
		it.Deliveries++ // the next attempt is one more
	}
}

// call calls the handler. panicked is the reason to give if it panicked: the
// type of the value, since its text may quote the entry.
func (d *decider) call(ctx context.Context, turn *Turn, items []*item) (verdicts []Verdict, panicked string, err error) {
	entries := make([]Entry, len(items))
	for i, it := range items {
		entries[i] = it.Entry
	}
	caught := panics.Try(func() { verdicts, err = d.handler.Handle(ctx, turn, entries) })
	if caught == nil {
		return verdicts, "", err
	}
	panicked = fmt.Sprintf("%s: %.100T", reasonPanic, caught.Value)
	d.log.Error("the handler panicked", "type", fmt.Sprintf("%T", caught.Value), "entries", len(items), "first_id", items[0].ID,
		"stack", string(caught.Stack[:min(len(caught.Stack), 4096)]))
	return nil, panicked, nil
}
