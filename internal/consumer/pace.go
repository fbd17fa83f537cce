package consumer

import "time"

const (
	// maxOvertime bounds how much longer than promised a blocking read may take on a server that
	// answers otherwise.
	maxOvertime = 30 * time.Second

	// Reads that come back at once with nothing, hastyLeast of them in a row, are made at growing
	// intervals.
	hastyLeast = 3
	hastyFirst = 20 * time.Millisecond
	hastyMost  = 500 * time.Millisecond
	leastBlock = 10 * time.Millisecond // that a server can be expected to wait
)

// A pace is how a server takes blocking reads; not all keep to what was asked. Redis 7.2.0 to 7.2.4
// begin to wait anew whenever another consumer gets something, and some services do not wait at
// all. It belongs to the read loop whose turn it is to read.
type pace struct {
	overtime time.Duration // beyond the usual deadline
	slow     bool          // the log says that reads take longer
	empty    int           // reads in a row that came back at once with nothing
	hasty    bool          // the log says that reads don't wait
}

// extend gives the next read more time, after one that timed out, and reports whether that is the
// first time.
func (p *pace) extend(timeout time.Duration) (first bool) {
	p.overtime = min(max(2*p.overtime, timeout), maxOvertime)
	first, p.slow = !p.slow, true
	return first
}

// rest returns how long to wait after a read: nothing, unless reads keep coming back early with
// nothing.
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
