package checker

import "time"

// DefaultStatusCode and DefaultMessage are sent to a denied client unless the block or [WithDenial]
// says otherwise.
const (
	DefaultStatusCode = 429
	DefaultMessage    = "Request blocked by audit enforcement policy"
)

// HeaderDenied is the response header, in canonical form, that every denial carries with the value
// "true". Publishers record it, so that denials never count as client errors against the blocked
// client.
const HeaderDenied = "X-Wardstream-Denied"

// A Decision is the result of a check.
type Decision struct {
	// Blocked reports whether to deny the request.
	Blocked bool
	// Block is the block that denies the request. It is zero if the request is allowed or the fail
	// mode denies it. Do not show its reason, rule and scope to the client: they help an attacker.
	Block Block
	// StatusCode and Message are the response to a denied request. StatusCode is between 400 and
	// 599 whatever the block says, since a forward-auth proxy lets a request pass on 200.
	StatusCode int
	Message    string
	// RetryAfter is how much longer the block lasts, rounded up to whole seconds; 0 for a
	// permanent block and for a denial by the fail mode.
	RetryAfter time.Duration
	// Err is the error of the look-up, or nil. Blocked is decided all the same: by a block that
	// was found, else by the fail mode.
	Err error
	// FailClosed reports, if Err is set, whether requests on this path are denied when the look-up
	// fails.
	FailClosed bool
}

// deny makes d a denial by the active block b.
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

// isDenial reports whether clients and proxies treat the status as a refusal.
func isDenial(status int) bool { return status >= 400 && status <= 599 }

func ceilSeconds(d time.Duration) time.Duration {
	if rest := d % time.Second; rest > 0 {
		d += time.Second - rest
	}
	return max(d, time.Second)
}

// Values that [Decision.Result] returns.
const (
	ResultAllowed      = "allowed"
	ResultBlocked      = "blocked"       // by a block
	ResultFailedOpen   = "failed_open"   // the look-up failed, and the fail mode allowed the request
	ResultFailedClosed = "failed_closed" // the look-up failed, and the fail mode denied it
)

// Result returns the outcome in one word, for metrics and logs: one of the Result constants.
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
