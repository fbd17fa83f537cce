package rules

import (
	"cmp"
	"strconv"
	"strings"
)

// A decimal is a decimal number of any size, exact: ±digits·10^exp. Comparing
// and writing it costs no more than its text is long, whatever its exponent,
// which is why it is not a big number of a library.
type decimal struct {
	negative bool
	infinite bool
	digits   string // "0" or without leading zeros
	exp      int64
	beyond   string // as it was written, of a number whose exponent is beyond maxExponent
}

// A number is a parameter that is a decimal, as it was written in the
// configuration: with or without quotes.
type number string

// UnmarshalText takes the text as it is.
func (n *number) UnmarshalText(text []byte) error {
	*n = number(text)
	return nil
}

// maxExponent bounds the exponents that can be told apart, as the General Decimal Arithmetic Specification's 64-bit implementations do. What is
// beyond is larger, or nearer to 0, than all that are not.
const maxExponent = 999_999_999_999_999_999

// parseDecimal reads a number as JSON and SQL write them; surrounding blanks,
// a plus sign and leading zeros are allowed. NaN is no number.
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

// compare returns -1, 0 or +1 as d is below, equal to or above other.
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

// adjusted is the exponent of the first digit.
func (d decimal) adjusted() int64 { return d.exp + int64(len(d.digits)) - 1 }

// String writes d in the General Decimal Arithmetic Specification's scientific
// form (to-scientific-string), which keeps the digits as they came.
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
