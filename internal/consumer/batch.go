package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/sourcegraph/conc/panics"
)

// Reasons of dead letters that the consumer gives itself. What precedes a colon
// is the class in metrics.
const (
	reasonPanic  = "panic"
	reasonFailed = "failed"
	reasonKilled = "killed the worker"
)

// ackIDs is how many entries one XACK names.
const ackIDs = 1000

var errVerdicts = errors.New("the handler returned a wrong number of verdicts")

// process handles items, which have had attempt attempts before, carries out their
// verdicts and puts away what stays pending. It passes the turn.
func (l *loop) process(ctx context.Context, turn *Turn, items []item, attempt int) {
	if len(items) == 0 {
		l.pass(ctx, turn)
		return
	}
	start := l.Now()
	l.inFlight.begin(items)
	l.outOfRoom = false
	together, alone := l.split(items)
	_ = l.decide(ctx, turn, together) // logged there; what is undecided is put away
	l.pass(ctx, turn)
	l.conclude(ctx, pointers(items))
	for _, it := range alone {
		l.decideAlone(ctx, it)
		l.conclude(ctx, []*item{it})
	}
	l.metrics.batchEntries.Observe(float64(len(items)))
	l.metrics.batchDuration.Observe(l.Now().Sub(start).Seconds())
	l.putAway(ctx, items, attempt+1)
}

// pass lets the next batch have its turn, once every batch before this one has had its own.
func (l *loop) pass(ctx context.Context, turn *Turn) {
	if !turn.Wait(ctx) {
		l.metrics.outOfOrder.Inc()
	}
	turn.Pass()
}

// split tells the undecided items that can be handled together from those that
// were delivered so often that they may be what ends processes.
func (l *loop) split(items []item) (together, alone []*item) {
	together = make([]*item, 0, len(items))
	for i := range items {
		switch it := &items[i]; {
		case it.verdict.Status != Pending:
		case it.Deliveries > l.MaxDeliveries:
			alone = append(alone, it)
		default:
			together = append(together, it)
		}
	}
	return together, alone
}

// decide has items handled and notes their verdicts. If the handler panics each is
// handled by itself, and the one that panics then is dead. The error is that of the
// infrastructure, already logged.
func (l *loop) decide(ctx context.Context, turn *Turn, items []*item) error {
	if len(items) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	verdicts, panicked, err := l.handle(ctx, turn, items)
	switch {
	case panicked != "" && len(items) > 1:
		return l.decideSingly(ctx, turn, items)
	case panicked != "":
		items[0].verdict = Verdict{Status: Dead, Reason: panicked}
		return nil
	case len(verdicts) == len(items):
		l.note(items, verdicts, err)
	case err == nil:
		err = errVerdicts
	}
	if err != nil {
		l.outOfRoom = l.outOfRoom || isOutOfRoom(err)
		l.metrics.batchErrors.Inc()
		l.log.Warn("handling a batch failed; what is undone will be handled again", "error", err, "entries", len(items))
	}
	return err
}

// decideSingly stops at the first failure of the infrastructure: the rest would
// wait for it too.
func (l *loop) decideSingly(ctx context.Context, turn *Turn, items []*item) error {
	for i := range items {
		items[i].Tried = true
		if err := l.decide(ctx, turn, items[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// note takes down verdicts. Where nothing failed but an entry is left pending, the
// entry itself has failed; that it may do MaxDeliveries times.
func (l *loop) note(items []*item, verdicts []Verdict, err error) {
	for i, it := range items {
		if verdicts[i].Status == Done || verdicts[i].Status == Dead {
			it.verdict = verdicts[i]
		}
		if it.verdict.Status != Pending || err != nil {
			continue
		}
		if it.failures++; it.failures >= l.MaxDeliveries {
			it.verdict = Verdict{Status: Dead, Reason: fmt.Sprintf("%s: left pending %d times", reasonFailed, it.failures)}
			continue
		}
		it.Deliveries++ // the next attempt is one more
	}
}

// handle calls the handler. panicked is the reason to give if it panicked: the
// type of the value, since its text may quote the entry.
func (l *loop) handle(ctx context.Context, turn *Turn, items []*item) (verdicts []Verdict, panicked string, err error) {
	entries := make([]Entry, len(items))
	for i, it := range items {
		entries[i] = it.Entry
	}
	caught := panics.Try(func() { verdicts, err = l.handler.Handle(ctx, turn, entries) })
	if caught == nil {
		return verdicts, "", err
	}
	panicked = fmt.Sprintf("%s: %.100T", reasonPanic, caught.Value)
	l.log.Error("the handler panicked", "type", fmt.Sprintf("%T", caught.Value), "entries", len(items), "first_id", items[0].ID,
		"stack", string(caught.Stack[:min(len(caught.Stack), 4096)]))
	return nil, panicked, nil
}

// conclude carries out verdicts: done entries are acked, dead ones become dead
// letters. Items whose verdict can't be carried out keep it for the next attempt.
func (l *loop) conclude(ctx context.Context, items []*item) {
	var done, dead []*item
	for _, it := range items {
		switch {
		case it.settled:
		case it.verdict.Status == Done:
			done = append(done, it)
		case it.verdict.Status == Dead:
			dead = append(dead, it)
		}
	}
	err := l.ackAll(ctx, done)
	err = errors.Join(err, l.deadLetter(ctx, dead))
	if err != nil && ctx.Err() == nil {
		l.outOfRoom = l.outOfRoom || isOutOfRoom(err)
		l.log.Warn("acking entries failed; it will be done again", "error", err)
	}
}

func (l *loop) ackAll(ctx context.Context, items []*item) error {
	for chunk := range slices.Chunk(items, ackIDs) {
		ids := make([]string, len(chunk))
		for i, it := range chunk {
			ids[i] = it.ID
		}
		if err := l.ack(ctx, ids); err != nil {
			return err
		}
		for _, it := range chunk {
			it.settled = true
		}
	}
	return nil
}

func (l *loop) ack(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	n, err := l.Clients.Ops.XAck(ctx, l.stream, l.Group, ids...).Result()
	if err != nil {
		return fmt.Errorf("ack entries: %w", err)
	}
	l.metrics.acked.Add(float64(n))
	return nil
}

// putAway keeps what isn't concluded for its next attempt: in memory as far as there
// is room, else in Redis alone, where it stays pending and is drained, or claimed by
// anyone, later.
func (l *loop) putAway(ctx context.Context, items []item, attempt int) {
	var left []item // a copy: the heartbeat reads items
	for i := range items {
		if !items[i].settled {
			items[i].Tried = true
			left = append(left, items[i])
		}
	}
	if l.inFlight.waiting()+len(left) > retryBatches*l.BatchSize {
		for i := range left {
			l.unmark(ctx, &left[i])
		}
		l.owed += len(left)
		left = nil
	}
	l.inFlight.finish(retry{items: left, attempts: attempt, due: l.Now().Add(backoff(attempt))})
}

// isOutOfRoom says whether Redis refused a write for lack of memory; 6.2 wraps what
// it says in a script.
func isOutOfRoom(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && (strings.HasPrefix(reply.Error(), "OOM ") || strings.Contains(reply.Error(), "-OOM command"))
}
