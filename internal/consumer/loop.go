package consumer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/wardstream/wardstream/internal/deadletter"
	"github.com/wardstream/wardstream/internal/resp"
)

// A loop is one consumer of one stream. Its goroutine does everything to
// entries, one step after the other: there is no queue, so that what is in memory is
// what one batch needs and what waits.
type loop struct {
	*Options
	*member
	handler Handler
	dead    *deadletter.Writer
	token   string // tells this process's marks from those of others

	sequence *sequence
	inFlight inFlight
	beats    *heartbeater
	progress atomic.Int64 // when the last step began, Unix nanoseconds
	ready    atomic.Bool  // the group is there and the last read succeeded

	joined     bool   // the group is there, as far as known
	wasJoined  bool   // it has been there since the loop began
	failures   int    // steps that failed in a row
	count      int    // entries to ask for at once
	owed       int    // about how many entries pending for us are not in memory
	waiting    int    // what the gauge has of this loop
	drained    string // ID of the last entry drained; empty if no draining is under way
	outOfRoom  bool   // Redis refused a write for lack of memory
	claimFrom  string // where the next page of claims starts
	claimPages int    // pages claimed since the last rest
	claimDue   time.Time
	late       bool      // what was read last was late
	shedDue    time.Time // when the script that skips late entries may be called again

	complainDue time.Time // when the next failure in a row is logged
}

func newLoop(o *Options, h Handler, seq *sequence, stream, consumer, token string, m *streamMetrics) *loop {
	l := &loop{
		Options: o, member: newMember(o, stream, consumer, m), handler: h, sequence: seq, token: token,
		dead: &deadletter.Writer{
			Client: o.Clients.Ops, Stream: stream, Group: o.Group, MaxLen: o.DeadMaxLen, MaxSize: o.replyBytes, Timeout: o.Timeout,
		},
		count: o.BatchSize, owed: 1, claimFrom: firstID, claimDue: o.Now().Add(jitter(o.ClaimMinIdle / 3)),
	}
	l.beats = &heartbeater{member: l.member, inFlight: &l.inFlight, every: o.ClaimMinIdle / 3}
	return l
}

// run works until stop or work ends. Entries are handled under work, which ends
// later than stop, so that the batch in hand can be finished.
func (l *loop) run(stop, work context.Context) {
	var side conc.WaitGroup
	beating, cancel := context.WithCancel(work)
	side.Go(func() { l.beats.run(beating) })
	for stop.Err() == nil && work.Err() == nil {
		l.progress.Store(l.Now().UnixNano())
		err := l.step(stop, work)
		l.countWaiting()
		if err != nil && work.Err() == nil {
			l.fail(stop, err)
			continue
		}
		if l.failures > 0 {
			l.log.Info("the stream can be read again", "failures", l.failures)
		}
		l.failures = 0
	}
	l.ready.Store(false)
	l.leave(work)
	cancel()
	side.Wait()
}

// step does one thing of each kind that is to be done.
func (l *loop) step(stop, work context.Context) error {
	if !l.joined {
		if err := l.join(work); err != nil {
			return err
		}
	}
	l.handleDue(work)
	if l.owed > 0 && l.roomy() {
		return l.drain(work)
	}
	if l.full() {
		pause(stop, l.idleTime())
		return nil
	}
	if l.roomy() && !l.claimDue.After(l.Now()) {
		if err := l.claim(work); err != nil {
			return err
		}
	}
	return l.read(work)
}

// countWaiting tells the gauge, which the loops of a stream share, how many entries wait.
func (l *loop) countWaiting() {
	waiting := l.inFlight.waiting() + l.owed
	l.metrics.waiting.Add(float64(waiting - l.waiting))
	l.waiting = waiting
}

// fail takes note of a failed step and waits. Whatever failed, a reply may have
// been lost with entries in it that are now pending for us: they are drained
// before anything new is read.
func (l *loop) fail(stop context.Context, err error) {
	l.failures++
	l.owed, l.drained = max(l.owed, 1), ""
	l.ready.Store(false)
	l.metrics.readErrors.Inc()
	if isGroupGone(err) {
		l.joined = false
	}
	wait := backoff(l.failures)
	if passes(err) {
		wait = min(wait, jitter(outagePause))
	}
	if now := l.Now(); l.failures == 1 || !now.Before(l.complainDue) {
		l.complainDue = now.Add(complainEvery)
		l.log.Warn("reading the stream failed", "error", err, "failures", l.failures, "wait", wait)
	}
	pause(stop, wait)
}

// passes reports whether what failed may be over at any moment: an outage, an election, a restart.
func passes(err error) bool {
	if !resp.IsError(err, "") {
		return true
	}
	for _, code := range []string{"LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "READONLY ", "TRYAGAIN "} {
		if resp.IsError(err, code) {
			return true
		}
	}
	return false
}

// roomy says whether there is room for entries that other batches may have to
// wait with: those drained and claimed. New ones may take the rest.
func (l *loop) roomy() bool {
	held := l.inFlight.waiting()
	return held < retryBatches/2*l.BatchSize && (held == 0 || !l.outOfRoom)
}

// full says whether reading must stop: too many entries wait already, or Redis has
// no memory for what handling them writes, and would go on filling the pending list.
func (l *loop) full() bool {
	held := l.inFlight.waiting()
	return held > 0 && l.outOfRoom || held+l.owed >= backlogBatches*l.BatchSize
}

// idleTime is how long there is nothing to do but wait for entries.
func (l *loop) idleTime() time.Duration {
	next := l.claimDue
	if due, ok := l.inFlight.nextDue(); ok && (due.Before(next) || !l.roomy()) {
		next = due
	}
	return min(max(next.Sub(l.Now()), 0), l.Block)
}

// handleDue handles one batch whose waiting time is over.
func (l *loop) handleDue(ctx context.Context) {
	items, attempt := l.inFlight.takeDue(l.Now(), l.BatchSize)
	if len(items) > 0 {
		l.process(ctx, nil, items, attempt)
	}
}

// leave does what can be done before the loop ends: entries that only lack their
// ack get it, marks go, and the consumer is removed if it owns nothing. What waits
// stays pending, for whoever claims it.
func (l *loop) leave(work context.Context) {
	if work.Err() != nil {
		return
	}
	items, _ := l.inFlight.takeDue(l.Now().Add(2*backoffCap), retryBatches*l.BatchSize)
	l.conclude(work, pointers(items))
	for i := range items {
		l.unmark(work, &items[i])
	}
	ctx, cancel := context.WithTimeout(work, l.Timeout)
	defer cancel()
	if _, err := removeConsumers(ctx, l.Clients.Ops, l.stream, l.Group, l.name, 0); err != nil {
		l.log.Warn("leaving the group failed", "error", err)
	}
}
