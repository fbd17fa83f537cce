package checker

import (
	"regexp"
	"slices"
	"time"
)

// DefaultTimeout is how long a Check waits at most unless [WithTimeout] is used.
const DefaultTimeout = 50 * time.Millisecond

// An Option changes how a [Checker] decides.
type Option func(*Checker)

type denial struct {
	status  int
	message string
}

// WithPrecedence moves scope types to the front of the order that decides which of several blocks
// denies a request. The default order is user, username, session, ip, then custom types by name.
func WithPrecedence(types ...string) Option {
	return func(c *Checker) { c.plan.order = precedence(types) }
}

// WithIPv6Prefix makes one scope of all IPv6 addresses that share their first bits. It must equal
// the detectors' ipv6_prefix. 0 and 128, the default, make each address a scope of its own.
func WithIPv6Prefix(bits int) Option {
	return func(c *Checker) { c.plan.ipv6Prefix = ipv6Bits(bits) }
}

// ipv6Bits returns bits, or 128 if bits is out of range.
func ipv6Bits(bits int) int {
	if bits <= 0 || bits > 128 {
		return 128
	}
	return bits
}

// DefaultRanges4 returns the prefix lengths of the IPv4 ranges that are looked up by default. See
// [WithRanges].
func DefaultRanges4() []int { return []int{24, 16} }

// DefaultRanges6 is [DefaultRanges4] for IPv6.
func DefaultRanges6() []int { return []int{64, 48} }

// WithRanges sets the prefix lengths of the ranges that are looked up along with an address, in the
// same round trip, for IPv4 and for IPv6: at most seven each. Lengths out of range are ignored. A
// blocked range of another length is found only by a mirror, which knows all blocks. Without
// lengths no range is looked up.
func WithRanges(v4, v6 []int) Option {
	return func(c *Checker) { c.plan.ranges4, c.plan.ranges6 = lengths(v4, 32), lengths(v6, 128) }
}

// lengths returns the valid prefix lengths of ranges, longest first. address is the length of an
// address.
func lengths(given []int, address int) []int {
	out := slices.DeleteFunc(slices.Clone(given), func(bits int) bool { return bits <= 0 || bits >= address })
	slices.Sort(out)
	out = slices.Compact(out)
	slices.Reverse(out)
	return out
}

// WithTimeout sets how long a Check waits for the look-up at most; 0 or less means
// [DefaultTimeout]. An earlier deadline of the context takes effect.
func WithTimeout(d time.Duration) Option {
	return func(c *Checker) {
		if d > 0 {
			c.timeout = d
		}
	}
}

// WithFailClosed denies requests whose look-up failed if any pattern matches their path, either as
// received or cleaned by [path.Clean]. A Subject without a Path counts as matching. Without
// patterns all requests are allowed when the look-up fails.
func WithFailClosed(patterns ...*regexp.Regexp) Option {
	return func(c *Checker) { c.failClosed = append(c.failClosed, patterns...) }
}

// WithDenial sets the status and message of denials by the fail mode and by blocks that have none.
// A status outside 400 to 599 and an empty message are ignored.
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

// WithClock replaces [time.Now] as the clock by which blocks expire.
func WithClock(now func() time.Time) Option {
	return func(c *Checker) { c.now = now }
}

// WithAllowlist never denies what the list names, even inside a blocked range. It should equal the
// allowlist of the detectors' configuration.
func WithAllowlist(list *Allowlist) Option {
	return WithExempt(list.Exempts)
}

// WithExempt ignores a block b of a subject s if exempt returns true. exempt is called for blocks
// that were found, not for clean requests; it must be fast and safe for concurrent use. It does not
// apply to denials by the fail mode. If the option is given several times, each function can
// exempt.
func WithExempt(exempt func(s *Subject, b *Block) bool) Option {
	return func(c *Checker) {
		if before := c.exempt; before != nil {
			c.exempt = func(s *Subject, b *Block) bool { return before(s, b) || exempt(s, b) }
			return
		}
		c.exempt = exempt
	}
}
