package checker

import "time"

// DefaultStatusCode and DefaultMessage answer a denied request where the block
// says nothing else and [WithDenial] wasn't used.
const (
	DefaultStatusCode = 429
	DefaultMessage    = "Request blocked by audit enforcement policy"
)

// HeaderDenied is the response header, in its canonical form, that marks every denial of
// Wardstream's own, with the value "true". Publishers hand the mark on, so that the answers
// that a blocked client gets never count against it.
const HeaderDenied = "X-Wardstream-Denied"

// A Decision answers a Subject.
type Decision struct {
	// Blocked says to deny the request.
	Blocked bool
	// Block is what denies it: Block.Scope and Block.Rule say what and why. It
	// is zero where the request is allowed, and where the fail mode denies it. Its reason, rule
	// and scope are the operator's business, not the client's.
	Block Block
	// StatusCode and Message answer a denied request. The status is an error
	// status (400 to 599) whatever the block says: a forward-auth proxy would take a 200 for leave.
	StatusCode int
	Message    string
	// RetryAfter is how long the block lasts, in whole seconds, rounded up; 0
	// for a permanent block and for a denial by the fail mode.
	RetryAfter time.Duration
	// Err is the failure of the look-up, or nil. Blocked says what came of it:
	// a block that was found all the same denies, else the fail mode decides.
	Err error
	// FailClosed says, where Err is set, that requests on this path are denied
	// when the look-up fails.
	FailClosed bool
}

// deny makes d the denial that the active block b stands for.
func (d *Decision) deny(b Block, def denial, now time.Time) {
	d.Blocked, d.Block = true, b
	d.StatusCode, d.Message = def.status, def.message
	if isDenial(b.StatusCode) {
		d.StatusCode = b.StatusCode
	}
	if b.Message != "" {
		d.Message = b.Message
	}
	if !b.Permanent() {
		d.RetryAfter = ceilSeconds(b.ExpiresAt.Sub(now))
	}
}

// isDenial reports whether a status tells a client and a proxy no.
func isDenial(status int) bool { return status >= 400 && status <= 599 }

func ceilSeconds(d time.Duration) time.Duration {
	if rest := d % time.Second; rest > 0 {
		d += time.Second - rest
	}
	return max(d, time.Second)
}

// What [Decision.Result] returns.
const (
	ResultAllowed      = "allowed"
	ResultBlocked      = "blocked"       // by a block
	ResultFailedOpen   = "failed_open"   // the look-up failed, and the fail mode allowed the request
	ResultFailedClosed = "failed_closed" // the look-up failed, and the fail mode denied it
)

// Result says in one word what came of a check, for metrics and logs: one of the Result constants.
func (d Decision) Result() string {
	switch {
	case d.Block.Scope != Scope{}:
		return ResultBlocked
	case d.Blocked:
		return ResultFailedClosed
	case d.Err != nil:
		return ResultFailedOpen
	}
	return ResultAllowed
}
