package checker

import (
	"context"
	"testing"
	"time"
)

// BenchmarkCheck measures what a check costs besides its look-up, called
// directly and on a goroutine of its own.
func BenchmarkCheck(b *testing.B) {
	nothing := lookupFunc(func(context.Context, []Scope) ([]Block, error) { return nil, nil })
	s := Subject{IP: everybody.IP, User: "42", Session: "s1"}
	for name, lookup := range map[string]Lookup{"direct": prompt{nothing}, "detached": nothing} {
		b.Run(name, func(b *testing.B) {
			c := New(lookup, WithTimeout(time.Minute))
			b.ReportAllocs()
			for b.Loop() {
				if d := c.Check(b.Context(), s); d.Blocked || d.Err != nil {
					b.Fatalf("Check = %+v", d)
				}
			}
		})
	}
}

func BenchmarkClientAddr(b *testing.B) {
	trust := proxies(b, 0, "10.0.0.0/8", "2001:db8:f::/48")
	header := []string{"6.6.6.6, 198.51.100.7, 10.0.0.2"}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := trust.ClientAddr("10.0.0.1:4711", header); !ok {
			b.Fatal("no client")
		}
	}
}
