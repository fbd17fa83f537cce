package checker

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddr(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"203.0.113.9": "203.0.113.9", " 203.0.113.9\t": "203.0.113.9", "203.0.113.9:1234": "203.0.113.9",
		"2001:DB8::5": "2001:db8::5", "2001:db8:0:0::5": "2001:db8::5", "[2001:db8::5]": "2001:db8::5", "[2001:db8::5]:443": "2001:db8::5",
		"fe80::1%eth0": "fe80::1", "[fe80::1%eth0]:80": "fe80::1", "[fe80::1%eth0]": "fe80::1",
		"::ffff:192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "::ffff:c000:201": "192.0.2.1", "::": "::",
		"": "", "unix:": "", "@": "", "localhost": "", "203.0.113": "", "203.0.113.9:": "", "203.0.113.9:x": "", "203.0.113.9:99999": "",
		"203.0.113.09": "", "0x7f.1": "", "2130706433": "", "203.0.113.9/32": "", "203.0.113.9 203.0.113.8": "", "[203.0.113.9]": "",
		"[2001:db8::5": "", "2001:db8::5]": "", "1:2:3:4:5:6:7:8:9": "", "_hidden": "", "unknown": "", `"203.0.113.9"`: "",
		"203.0.113.9\x00": "", "fe80::1%" + strings.Repeat("a", 200): "",
	} {
		addr, ok := ParseAddr(text)
		if ok != (want != "") || (ok && addr.String() != want) {
			t.Errorf("ParseAddr(%q) = %v, %v; want %q", text, addr, ok, want)
		}
	}
}

func TestNewScope(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		typ, value string
		want       Scope
		ok         bool
	}{
		{"user", " 42 ", Scope{"user", "42"}, true},
		{"ip", "[2001:DB8::5]:1", Scope{"ip", "2001:db8::5"}, true},
		{"tenant", "unix:", Scope{"tenant", "unix:"}, true},
		{"ip", "unix:", Scope{}, false},
		{"user", " \t", Scope{}, false},
		{"", "x", Scope{}, false},
	} {
		if got, ok := NewScope(tc.typ, tc.value); got != tc.want || ok != tc.ok {
			t.Errorf("NewScope(%q, %q) = %v, %v", tc.typ, tc.value, got, ok)
		}
	}
}

func TestIPScope(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		addr   string
		prefix int
		want   string
	}{
		{"2001:db8:1:2:3::4", 64, "2001:db8:1:2::/64"},
		{"2001:db8::1", 0, "2001:db8::1"},
		{"2001:db8::1", 128, "2001:db8::1"},
		{"2001:db8::1", 300, "2001:db8::1"},
		{"2001:db8::1", -1, "2001:db8::1"},
		{"::ffff:192.0.2.1", 64, "192.0.2.1"},
		{"fe80::1%eth0", 64, "fe80::/64"},
		{"fe80::1%eth0", 128, "fe80::1"},
	} {
		if got := IPScope(netip.MustParseAddr(tc.addr), tc.prefix); got != (Scope{ScopeIP, tc.want}) {
			t.Errorf("IPScope(%s, %d) = %v, want %s", tc.addr, tc.prefix, got, tc.want)
		}
	}
	if got := IPScope(netip.Addr{}, 64); got != (Scope{}) {
		t.Errorf("IPScope of no address = %v", got)
	}
}

func TestRangeScope(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"203.0.113.77/24": "203.0.113.0/24", "203.0.113.77/32": "203.0.113.77", "2001:DB8::1/48": "2001:db8::/48", "2001:db8::1/128": "2001:db8::1",
		"::ffff:192.0.2.77/120": "192.0.2.0/24", "::ffff:192.0.2.77/128": "192.0.2.77", "::ffff:192.0.2.77/96": "", "::/0": "", "0.0.0.0/0": "", "10.0.0.0/1": "0.0.0.0/1",
		"::ffff:1.2.3.4/64": "::/64",
	} {
		got, ok := RangeScope(netip.MustParsePrefix(text))
		if ok != (want != "") || (ok && got != Scope{ScopeIP, want}) {
			t.Errorf("RangeScope(%s) = %v, %v; want %q", text, got, ok, want)
		}
	}
	if got, ok := RangeScope(netip.Prefix{}); ok {
		t.Errorf("RangeScope of none = %v", got)
	}
}

// FuzzParseAddr: whatever is taken for an address is canonical, so that detection
// and ingress agree whatever spelling each of them saw.
func FuzzParseAddr(f *testing.F) {
	for _, seed := range []string{"203.0.113.9:1", "[fe80::1%eth0]:80", "::ffff:1.2.3.4", " 2001:DB8::5 ", "unknown", "1.2.3.4, 5.6.7.8"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		addr, ok := ParseAddr(text)
		if !ok {
			return
		}
		if addr.Is4In6() || addr.Zone() != "" || !addr.IsValid() {
			t.Fatalf("ParseAddr(%q) = %v: not canonical", text, addr)
		}
		again, ok := ParseAddr(addr.String())
		if !ok || again != addr {
			t.Fatalf("ParseAddr(%q) = %v, whose text reads as %v", text, addr, again)
		}
		if scope, ok := NewScope(ScopeIP, text); !ok || scope != IPScope(addr, 0) {
			t.Fatalf("NewScope(%q) = %v, IPScope = %v", text, scope, IPScope(addr, 0))
		}
	})
}
