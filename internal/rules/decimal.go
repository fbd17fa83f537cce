package rules

import (
	"cmp"
	"strconv"
	"strings"
)

// A decimal is an exact decimal number of any size: ±digits·10^exp. Comparing and printing cost
// time linear in the length of its text, whatever the exponent; math/big would expand 1e999999999.
type decimal struct {
	negative bool
	infinite bool
	digits   string // "0" or without leading zeros
	exp      int64
	beyond   string // the original text, if the exponent exceeds maxExponent
}

// A number is a decimal parameter as written in the configuration, with or without quotes.
type number string

// UnmarshalText keeps the text unchanged.
func (n *number) UnmarshalText(text []byte) error {
	*n = number(text)
	return nil
}

// maxExponent is the largest exponent that compare distinguishes, as in 64-bit implementations of
// the General Decimal Arithmetic Specification. A number beyond it counts as larger, or as nearer
// to 0, than every number within it.
const maxExponent = 999_999_999_999_999_999

// parseDecimal reads a number in the syntax of JSON or SQL. It allows surrounding blanks, a plus
// sign and leading zeros. NaN is an error.
func parseDecimal(s string) (decimal, bool) {
	s = strings.TrimSpace(s)
	d := decimal{negative: strings.HasPrefix(s, "-")}
	if d.negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if strings.EqualFold(s, "inf") || strings.EqualFold(s, "infinity") {
		d.infinite = true
		return d, true
	}
	mantissa, exponent, scientific := cutExponent(s)
	if scientific {
		if !isExponent(exponent) {
			return decimal{}, false
		}
		e, err := strconv.ParseInt(exponent, 10, 64)
		if err != nil || e > maxExponent || e < -maxExponent {
			d.beyond, e = s, 2*maxExponent
			if exponent[0] == '-' {
				e = -e
			}
		}
		d.exp = e
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.digits = whole + fraction
	d.exp -= int64(len(fraction))
	if d.digits == "" || strings.Trim(d.digits, "0123456789") != "" {
		return decimal{}, false
	}
	if d.digits = strings.TrimLeft(d.digits, "0"); d.digits == "" {
		d.digits = "0"
	}
	return d, true
}

func isExponent(s string) bool {
	digits := s
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		digits = s[1:]
	}
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

func cutExponent(s string) (mantissa, exponent string, found bool) {
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

func (d decimal) sign() int {
	switch {
	case !d.infinite && d.digits == "0":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// compare returns -1, 0 or +1 if d is less than, equal to or greater than other.
func (d decimal) compare(other decimal) int {
	if c := cmp.Compare(d.sign(), other.sign()); c != 0 || d.sign() == 0 {
		return c
	}
	return d.sign() * d.compareSize(other)
}

func (d decimal) compareSize(other decimal) int {
	if d.infinite || other.infinite {
		switch {
		case d.infinite == other.infinite:
			return 0
		case d.infinite:
			return 1
		}
		return -1
	}
	if c := cmp.Compare(d.adjusted(), other.adjusted()); c != 0 {
		return c
	}
	return strings.Compare(strings.TrimRight(d.digits, "0"), strings.TrimRight(other.digits, "0"))
}

// adjusted returns the exponent of the first digit.
func (d decimal) adjusted() int64 { return d.exp + int64(len(d.digits)) - 1 }

// String formats d by to-scientific-string of the General Decimal Arithmetic Specification, which
// keeps trailing zeros.
func (d decimal) String() string {
	sign := ""
	if d.negative {
		sign = "-"
	}
	if d.infinite {
		return sign + "Infinity"
	}
	if d.beyond != "" && d.digits != "0" {
		return sign + d.beyond
	}
	switch point := int64(len(d.digits)) + d.exp; {
	case d.exp == 0:
		return sign + d.digits
	case d.exp > 0 || d.adjusted() < -6:
		return sign + d.scientific()
	case point > 0:
		return sign + d.digits[:point] + "." + d.digits[point:]
	default:
		return sign + "0." + strings.Repeat("0", int(-point)) + d.digits
	}
}

func (d decimal) scientific() string {
	out := d.digits[:1]
	if len(d.digits) > 1 {
		out += "." + d.digits[1:]
	}
	adjusted := d.adjusted()
	if adjusted >= 0 {
		out += "E+"
	} else {
		out += "E"
	}
	return out + strconv.FormatInt(adjusted, 10)
}
