package consumer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// A readLoop is one consumer of one stream. Its goroutine does everything to entries, one step
// after the other: what is in memory is what one batch needs and what waits for a retry. Each role
// has a type of its own; the read loop says whose turn it is.
type readLoop struct {
	*member
	membership  *membership
	reader      *reader
	recoverer   *recoverer
	claimer     *claimer
	redeliverer *redeliverer
	processor   *processor
	heartbeater *heartbeater

	// What the roles share.
	inFlight *inFlight
	backlog  *backlog
	pressure *backpressure

	failures    int       // steps that failed in a row
	complainDue time.Time // when the next of them is logged
	counted     int       // what the gauge of waiting entries has of this loop

	progress atomic.Int64 // when the last step began, Unix nanoseconds
	ready    atomic.Bool  // the group is there and the last read succeeded
}

func newReadLoop(o *Options, h Handler, seq *sequence, m *member, token string) *readLoop {
	var (
		flight   = &inFlight{}
		left     = &backlog{entries: 1} // until Redis says that there is nothing
		pressure = &backpressure{batchSize: o.BatchSize}
		page     = &pageSize{entries: o.BatchSize, most: o.BatchSize}
		fetches  = &fetcher{member: m, page: page}
		dead     = newDeadLetterer(o, m)
		sheds    = &shedder{member: m, shedding: o.Shed, maxLag: o.MaxLag, page: page}
	)
	return &readLoop{
		member:      m,
		membership:  &membership{member: m},
		reader:      &reader{member: m, fetcher: fetches, shedder: sheds, sequence: seq, backlog: left, block: o.Block},
		recoverer:   &recoverer{member: m, fetcher: fetches, backlog: left, dead: dead, maxReply: o.replyBytes},
		claimer:     newClaimer(o, m, page),
		redeliverer: &redeliverer{m},
		heartbeater: &heartbeater{member: m, inFlight: flight, every: o.ClaimMinIdle / 3},
		processor: &processor{
			member: m, inFlight: flight, backlog: left, pressure: pressure,
			decider: &decider{member: m, handler: h, maxDeliveries: o.MaxDeliveries, pressure: pressure},
			settler: &settler{member: m, dead: dead, pressure: pressure},
			poison:  &poisonGuard{member: m, keys: rediskey.Keys{Prefix: o.Prefix}, token: token},
		},
		inFlight: flight, backlog: left, pressure: pressure,
	}
}

// run works until stop or work ends. Entries are handled under work, which ends
// later than stop, so that the current batch can be finished.
func (l *readLoop) run(stop, work context.Context) {
	var side conc.WaitGroup
	beating, cancel := context.WithCancel(work)
	side.Go(func() { l.heartbeater.run(beating) })
	for stop.Err() == nil && work.Err() == nil {
		l.progress.Store(l.now().UnixNano())
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
	if work.Err() == nil {
		l.processor.finish(work)
		l.membership.leave(work)
	}
	cancel()
	side.Wait()
}

// step does one thing of each kind that is to be done.
func (l *readLoop) step(stop, work context.Context) error {
	if err := l.membership.join(work); err != nil {
		return err
	}
	l.retryDue(work)
	if l.backlog.entries > 0 && l.hasCapacity() {
		return l.recoverOwn(work)
	}
	if l.pressure.paused(l.inFlight.waiting(), l.backlog.entries) {
		pause(stop, l.reader.idle(l.nextDue()))
		return nil
	}
	if l.hasCapacity() && !l.claimer.due.After(l.now()) {
		if err := l.claim(work); err != nil {
			return err
		}
	}
	return l.read(work)
}

func (l *readLoop) hasCapacity() bool { return l.pressure.hasCapacity(l.inFlight.waiting()) }

// nextDue returns until when there is nothing to do but wait for entries.
func (l *readLoop) nextDue() time.Time {
	next := l.claimer.due
	if due, ok := l.inFlight.nextDue(); ok && (due.Before(next) || !l.hasCapacity()) {
		next = due
	}
	return next
}

// retryDue handles the entries whose waiting time is over, a batch of them.
func (l *readLoop) retryDue(ctx context.Context) {
	items, attempts := l.inFlight.takeDue(l.now(), l.pressure.batchSize)
	if len(items) > 0 {
		l.processor.process(ctx, nil, items, attempts)
	}
}

// read handles new entries in their turn.
func (l *readLoop) read(ctx context.Context) error {
	entries, turn, err := l.reader.next(ctx, l.nextDue())
	if err != nil {
		return err
	}
	l.ready.Store(true)
	l.processor.process(ctx, turn, itemsOf(entries), 0)
	return nil
}

// recoverOwn handles one page of the backlog.
func (l *readLoop) recoverOwn(ctx context.Context) error {
	page, err := l.recoverer.next(ctx)
	if err != nil {
		return err
	}
	l.ready.Store(true) // Redis lets us read, however long the next read takes
	if err := l.redeliver(ctx, l.inFlight.exclude(page)); err != nil {
		return err
	}
	if !l.hasCapacity() {
		l.backlog.rewind() // the rest when there is capacity again, from the start
	}
	return nil
}

// claim handles one page of what other consumers have left untouched.
func (l *readLoop) claim(ctx context.Context) error {
	claimed, err := l.claimer.next(ctx)
	if err != nil {
		return err
	}
	l.redeliverer.countTrimmed(len(claimed.Deleted), claimed.Deleted)
	if claimed.Absent > 0 { // Redis 6.2: recovery finds and acks them
		l.backlog.expect()
	}
	entries := l.inFlight.exclude(entriesOf(l.stream, claimed.Entries))
	l.metrics.claimed.Add(float64(len(entries)))
	return l.redeliver(ctx, entries)
}

// redeliver handles entries that were delivered before.
func (l *readLoop) redeliver(ctx context.Context, entries []Entry) error {
	there, err := l.redeliverer.prepare(ctx, entries)
	if err != nil {
		return err
	}
	l.processor.process(ctx, nil, itemsOf(there), 0)
	return nil
}

// countWaiting adjusts the gauge, which the loops of a stream share, to how many entries wait.
func (l *readLoop) countWaiting() {
	waiting := l.inFlight.waiting() + l.backlog.entries
	l.metrics.waiting.Add(float64(waiting - l.counted))
	l.counted = waiting
}

// fail takes note of a failed step and waits. Whatever failed, a reply may have
// been lost with entries in it that are now pending for us: they are recovered
// before anything new is read.
func (l *readLoop) fail(stop context.Context, err error) {
	l.failures++
	l.backlog.restart()
	l.ready.Store(false)
	l.metrics.readErrors.Inc()
	l.membership.observe(err)
	wait := backoff(l.failures)
	if isTransient(err) {
		wait = min(wait, jitter(outagePause))
	}
	if now := l.now(); l.failures == 1 || !now.Before(l.complainDue) {
		l.complainDue = now.Add(complainEvery)
		l.log.Warn("reading the stream failed", "error", err, "failures", l.failures, "wait", wait)
	}
	pause(stop, wait)
}
