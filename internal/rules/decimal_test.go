package rules

import (
	"math/big"
	"strings"
	"testing"
)

func TestDecimalText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10000": "10000", "30000.50": "30000.50", "1e5": "1E+5", "0.1e6": "1E+5", "12e3": "1.2E+4", "1e-7": "1E-7",
		"0.000001": "0.000001", "0.0000001": "1E-7", "+20": "20", "0020": "20", "20.": "20", ".5": "0.5", "-0.50": "-0.50",
		" 7\t": "7", "inf": "Infinity", "-Infinity": "-Infinity", "0": "0", "0.00": "0.00", "1.2345678901234568e+17": "1.2345678901234568E+17",
		"1e9999999999999999999": "1e9999999999999999999", "-2.50E+9999999999999999999": "-2.50E+9999999999999999999", "1e-9999999999999999999": "1e-9999999999999999999",
	} {
		if d, ok := parseDecimal(in); !ok || d.String() != want {
			t.Errorf("%q is %q (%t), want %q", in, d.String(), ok, want)
		}
	}
	for _, in := range []string{"", " ", "nan", "NaN", "-", ".", "1.2.3", "1e", "1e+", "e5", "0x10", "1_000", "20,000", "$5", "--1", "1e--9", "1e9999999999999999999x", "٣"} {
		if d, ok := parseDecimal(in); ok {
			t.Errorf("%q was read as %s", in, d)
		}
	}
}

// TestDecimalComparesNumbersOfAnySize: a number whose exponent overflows is still larger, or nearer
// to 0, than all others.
func TestDecimalComparesNumbersOfAnySize(t *testing.T) {
	t.Parallel()
	ascending := []string{
		"-inf", "-1e9999999999999999999", "-1e999999999999999999", "-1", "-1e-999999999999999999", "-1e-9999999999999999999", "0e9999999999999999999",
		"1e-9999999999999999999", "1e-999999999999999999", "10000", "1e999999999999999999", "1e9999999999999999999", "Infinity",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			x, okX := parseDecimal(a)
			y, okY := parseDecimal(b)
			if got := x.compare(y); !okX || !okY || got != max(-1, min(1, i-j)) {
				t.Errorf("%s to %s: %d", a, b, got)
			}
		}
	}
}

func FuzzDecimal(f *testing.F) {
	for _, seed := range [][2]string{{"1", "2"}, {"-1.50", "-1.5"}, {"1e3", "1000"}, {"0", "-0"}, {"inf", "1"}, {"1e-5", "0.00001"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, okX := parseDecimal(a)
		y, okY := parseDecimal(b)
		if !okX || !okY {
			return
		}
		if x.compare(y) != -y.compare(x) || x.compare(x) != 0 {
			t.Fatalf("%s and %s are not ordered", a, b)
		}
		if x.infinite || y.infinite || len(a)+len(b) > 200 || max(x.exp, -x.exp, y.exp, -y.exp) > 500 {
			return
		}
		bigX, _ := new(big.Rat).SetString(strings.TrimPrefix(strings.TrimSpace(a), "+"))
		bigY, _ := new(big.Rat).SetString(strings.TrimPrefix(strings.TrimSpace(b), "+"))
		if bigX == nil || bigY == nil {
			return
		}
		if got, want := x.compare(y), bigX.Cmp(bigY); got != want {
			t.Fatalf("compare(%s, %s) = %d, want %d", a, b, got, want)
		}
	})
}
