package consumer

import (
	"context"
	"errors"
	"net"
	"time"
)

const (
	// maxOvertime bounds how much longer than promised a blocking read may take on a server that answers otherwise.
	maxOvertime = 30 * time.Second

	// Reads that come back at once with nothing, hastyLeast of them in a row, are made at growing intervals.
	hastyLeast = 3
	hastyFirst = 20 * time.Millisecond
	hastyMost  = 500 * time.Millisecond
	leastBlock = 10 * time.Millisecond // that a server can be expected to wait
)

// A pace is how a server takes blocking reads; not all keep to what was asked. Redis 7.2.0 to 7.2.4 begin to wait anew
// whenever another consumer gets something, and some services do not wait at all. It belongs to the loop that reads.
type pace struct {
	overtime time.Duration // beyond the usual deadline
	slow     bool          // it was said that reads take longer
	empty    int           // reads in a row that came back at once with nothing
	hasty    bool          // it was said that reads don't wait
}

// fetchBlocking reads new entries and waits for some. A read that goes on past its deadline is no failure if the server
// answers: the next may take longer. What its reply may have brought is drained.
func (l *loop) fetchBlocking(ctx context.Context) ([]Entry, error) {
	p, block, begin := &l.sequence.pace, l.idleTime(), time.Now()
	entries, err := l.fetch(ctx, unread, block)
	took := time.Since(begin)
	switch {
	case err != nil && ctx.Err() == nil && isTimeout(err) && l.answers(ctx):
		l.metrics.readErrors.Inc()
		l.owed, l.drained = max(l.owed, 1), ""
		p.overtime = min(max(2*p.overtime, l.Timeout), maxOvertime)
		if !p.slow {
			p.slow = true
			l.log.Warn("a blocking read took longer than asked though Redis answers; reads may take longer from now on",
				"asked", block, "took", took, "next_deadline", block+l.Timeout+p.overtime)
		}
		return nil, nil
	case err != nil:
		return nil, err
	}
	if took <= block+l.Timeout {
		p.overtime = 0
	}
	if rest := p.rest(len(entries), block, took); rest > 0 {
		if !p.hasty {
			p.hasty = true
			l.log.Warn("Redis answers blocking reads at once though there is nothing to read; it is asked at intervals instead",
				"asked", block, "took", took, "interval_at_most", hastyMost)
		}
		pause(ctx, min(rest, block))
	}
	return entries, nil
}

// rest returns how long to wait after a read: nothing, unless reads keep coming back early with nothing.
func (p *pace) rest(entries int, block, took time.Duration) time.Duration {
	if entries > 0 || block >= leastBlock && took >= block/2 {
		p.empty = 0
		return 0
	}
	if block < leastBlock {
		return 0
	}
	if p.empty++; p.empty < hastyLeast {
		return 0
	}
	return min(hastyFirst<<min(p.empty-hastyLeast, 10), hastyMost)
}

// answers reports whether Redis answers, on another connection than that of blocking reads.
func (l *loop) answers(ctx context.Context) bool {
	return l.do(ctx, "EXISTS", l.stream) == nil
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}
