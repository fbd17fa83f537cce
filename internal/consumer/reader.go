package consumer

import (
	"context"
	"time"
)

// A reader reads new entries. The read loops of a stream take turns at it.
type reader struct {
	*member
	fetcher  *fetcher
	shedder  *shedder
	sequence *sequence
	backlog  *backlog
	block    time.Duration // the most to wait for entries
}

// next returns new entries and their turn. It waits for some, or for another loop to have read,
// until there is something else to do; then it returns nothing.
func (r *reader) next(ctx context.Context, until time.Time) ([]Entry, *Turn, error) {
	if !r.sequence.begin(ctx, max(r.idle(until), time.Millisecond)) {
		return nil, nil, nil // another loop reads, and says how that goes
	}
	entries, err := r.read(ctx, until)
	turn := r.sequence.end()
	if err != nil {
		turn.Pass()
		return nil, nil, err
	}
	for i := range entries {
		entries[i].Deliveries = 1
	}
	r.metrics.delivered.Add(float64(len(entries)))
	return entries, turn, nil
}

// idle returns how long to wait, at most until a time.
func (r *reader) idle(until time.Time) time.Duration {
	return min(max(until.Sub(r.now()), 0), r.block)
}

func (r *reader) read(ctx context.Context, until time.Time) ([]Entry, error) {
	if r.shedder.applies() {
		return r.shedder.read(ctx)
	}
	entries, err := r.readBlocking(ctx, r.idle(until))
	r.shedder.observe(entries)
	return entries, err
}

// readBlocking reads new entries and waits for some. A read that goes on past its deadline is no
// failure if the server answers: the next may take longer. What its reply may have brought is
// recovered.
func (r *reader) readBlocking(ctx context.Context, block time.Duration) ([]Entry, error) {
	p, begin := &r.sequence.pace, time.Now()
	entries, err := r.fetcher.fetch(ctx, readRequest{after: unread, block: block, overtime: p.overtime})
	took := time.Since(begin)
	switch {
	case err != nil && ctx.Err() == nil && isTimeout(err) && r.serverAnswers(ctx):
		r.metrics.readErrors.Inc()
		r.backlog.restart()
		if p.extend(r.timeout) {
			r.log.Warn("a blocking read took longer than asked though Redis answers; reads may take longer from now on",
				"asked", block, "took", took, "next_deadline", block+r.timeout+p.overtime)
		}
		return nil, nil
	case err != nil:
		return nil, err
	}
	if took <= block+r.timeout {
		p.overtime = 0
	}
	if rest := p.rest(len(entries), block, took); rest > 0 {
		if !p.hasty {
			p.hasty = true
			r.log.Warn("Redis answers blocking reads at once though there is nothing to read; it is asked at intervals instead",
				"asked", block, "took", took, "interval_at_most", hastyMost)
		}
		pause(ctx, min(rest, block))
	}
	return entries, nil
}

// serverAnswers reports whether Redis answers on another connection than that of blocking reads.
func (r *reader) serverAnswers(ctx context.Context) bool {
	return r.do(ctx, "EXISTS", r.stream) == nil
}
