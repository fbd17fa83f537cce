package checker

import (
	"regexp"
	"slices"
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
	return func(c *Checker) { c.plan.order = precedence(types) }
}

// WithIPv6Prefix makes one scope of all IPv6 addresses that share their first
// bits, as detection does with the same setting. 0 and 128 mean each by itself, the default.
func WithIPv6Prefix(bits int) Option {
	return func(c *Checker) { c.plan.ipv6Prefix = ipv6Bits(bits) }
}

// ipv6Bits is bits, or 128 where it says nothing.
func ipv6Bits(bits int) int {
	if bits <= 0 || bits > 128 {
		return 128
	}
	return bits
}

// DefaultRanges4 and DefaultRanges6 are the prefix lengths of the ranges that are looked up unless
// [WithRanges] says otherwise.
func DefaultRanges4() []int { return []int{24, 16} }

// DefaultRanges6 is DefaultRanges4 for IPv6.
func DefaultRanges6() []int { return []int{64, 48} }

// WithRanges sets the prefix lengths of the ranges that are looked up besides an address itself, in the same
// round trip, for IPv4 and for IPv6: at most seven each, of which those count that are shorter than
// an address. A range blocked with another length is only seen by a mirror, which
// knows all of them. Without lengths no range is looked up.
func WithRanges(v4, v6 []int) Option {
	return func(c *Checker) { c.plan.ranges4, c.plan.ranges6 = lengths(v4, 32), lengths(v6, 128) }
}

// lengths returns those of the prefix lengths that make ranges, longest first.
func lengths(given []int, address int) []int {
	out := slices.DeleteFunc(slices.Clone(given), func(bits int) bool { return bits <= 0 || bits >= address })
	slices.Sort(out)
	out = slices.Compact(out)
	slices.Reverse(out)
	return out
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

// WithAllowlist never denies what the list names, also inside a blocked range. It should be
// the allowlist of the detectors' configuration.
func WithAllowlist(list *Allowlist) Option {
	return WithExempt(list.Exempts)
}

// WithExempt never lets a block deny a subject for which exempt says so; it must be quick and safe for
// concurrent use. It is asked about blocks that were found, not about clean requests. A
// request whose look-up failed is still denied where [WithFailClosed] says so. Of several
// options each can exempt.
func WithExempt(exempt func(s *Subject, b *Block) bool) Option {
	return func(c *Checker) {
		if before := c.exempt; before != nil {
			c.exempt = func(s *Subject, b *Block) bool { return before(s, b) || exempt(s, b) }
			return
		}
		c.exempt = exempt
	}
}
