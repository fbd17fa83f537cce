package checker

import (
	"regexp"
	"time"
)

// DefaultTimeout bounds the wait of a Check unless [WithTimeout] says otherwise.
const DefaultTimeout = 50 * time.Millisecond

// An Option changes how a [Checker] decides.
type Option func(*Checker)

type denial struct {
	status  int
	message string
}

// WithPrecedence moves scope types to the front of the order in which blocks
// answer a request: user, username, session, ip, then custom types by name.
func WithPrecedence(types ...string) Option {
	return func(c *Checker) { c.order = precedence(types) }
}

// WithIPv6Prefix makes one scope of all IPv6 addresses that share their first
// bits, as detection does with the same setting. 0 and 128 mean each by itself, the default.
func WithIPv6Prefix(bits int) Option {
	return func(c *Checker) { c.ipv6Prefix = bits }
}

// WithTimeout bounds how long a Check may wait for the look-up. The default is
// [DefaultTimeout], which 0 and less leave in force. An earlier deadline of the context counts.
func WithTimeout(d time.Duration) Option {
	return func(c *Checker) {
		if d > 0 {
			c.timeout = d
		}
	}
}

// WithFailClosed denies requests whose look-up failed if any pattern is found in
// their path, either as it came or cleaned (one slash, no dot segments). A Subject without a Path
// counts as one that matches: what isn't known can't be let through. Without patterns all
// requests are allowed when the look-up fails.
func WithFailClosed(patterns ...*regexp.Regexp) Option {
	return func(c *Checker) { c.failClosed = append(c.failClosed, patterns...) }
}

// WithDenial sets the status and message of denials where the block has none
// and of those by the fail mode. A status outside 400 to 599 and an empty message change nothing.
func WithDenial(status int, message string) Option {
	return func(c *Checker) {
		if isDenial(status) {
			c.denial.status = status
		}
		if message != "" {
			c.denial.message = message
		}
	}
}

// WithClock replaces time.Now as the clock by which blocks expire.
func WithClock(now func() time.Time) Option {
	return func(c *Checker) { c.now = now }
}
