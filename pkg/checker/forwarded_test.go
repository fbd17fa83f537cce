package checker

import (
	"errors"
	"strings"
	"testing"
)

// forwardedProxies trusts 10.0.0.0/8 and 2001:db8:f::/48, and reads Forwarded.
func forwardedProxies(t testing.TB, count int) TrustedProxies {
	t.Helper()
	p := proxies(t, count, "10.0.0.0/8", "2001:db8:f::/48")
	p.Header = HeaderForwarded
	return p
}

// TestForwarded: RFC 7239, read from the right.
func TestForwarded(t *testing.T) {
	t.Parallel()
	const client = "198.51.100.7"
	long := strings.Repeat("for=6.6.6.6, ", 5000)
	for _, tc := range []struct {
		name  string
		count int
		lines []string
		want  string // an address, or "": none
	}{
		{"the proxy says who", 0, []string{"for=" + client}, client},
		{"parameters in any order and case", 0, []string{"proto=https;By=10.0.0.1;FOR=" + client + ";host=example.com"}, client},
		{"quoted", 0, []string{`for="` + client + `"`}, client},
		{"quoted with escapes", 0, []string{`for="\198.51.100\.7"`}, client},
		{"with a port", 0, []string{`for="` + client + `:4711"`}, client},
		{"with an obfuscated port", 0, []string{`for="` + client + `:_p0rt"`}, client},
		{"IPv6", 0, []string{`for="[2001:db8::7]"`}, "2001:db8::7"},
		{"IPv6 with port", 0, []string{`for="[2001:db8::7]:4711"`}, "2001:db8::7"},
		{"IPv6 mapped", 0, []string{`for="[::ffff:198.51.100.7]:1"`}, client},
		{"blanks and empty elements", 0, []string{" , for=" + client + " ;proto=http , ,", ","}, client},
		{"empty parameters", 0, []string{";;for=" + client + ";"}, client},
		{"the client's own claim stands to the left", 0, []string{"for=6.6.6.6, for=" + client}, client},
		{"on a line of its own", 0, []string{"for=6.6.6.6", "for=" + client}, client},
		{"it claims to be a proxy", 0, []string{"for=10.9.9.9, for=" + client}, client},
		{"two proxies", 0, []string{"for=6.6.6.6, for=" + client + `, for="10.0.0.2:80"`}, client},
		{"an open quotation mark on the left swallows nothing", 0, []string{`for=", for=` + client}, client},
		{"nor does one behind a backslash", 0, []string{`for="\", for=` + client}, client},
		{"nor one that is closed inside", 0, []string{`for="x", for="` + client + `"`}, client},
		{"a comma in quotes parts nothing", 0, []string{`for=` + client + `;host="a,for=6.6.6.6"`}, client},
		{"a semicolon in quotes neither", 0, []string{`host="a;for=6.6.6.6";for=` + client}, client},
		{"an escaped quotation mark neither", 0, []string{`host="a\",for=6.6.6.6";for=` + client}, client},
		{"a backslash before the end", 0, []string{`host="a\\";for=` + client}, client},
		{"a chain as long as one likes", 0, []string{long + "for=" + client}, client},
		{"count 2", 2, []string{"for=6.6.6.6, for=" + client + ", for=10.0.0.2"}, client},

		{"nothing", 0, nil, ""},
		{"unknown", 0, []string{"for=unknown"}, ""},
		{"obfuscated", 0, []string{"for=_hidden"}, ""},
		{"unknown nearer than the client", 0, []string{"for=" + client + ", for=unknown"}, ""},
		{"no for", 0, []string{"proto=https;by=10.0.0.1"}, ""},
		{"for twice", 0, []string{"for=" + client + ";for=6.6.6.6"}, ""},
		{"X-Forwarded-For's syntax", 0, []string{client}, ""},
		{"IPv6 without brackets", 0, []string{`for="2001:db8::7"`}, ""},
		{"IPv6 without quotes", 0, []string{"for=[2001:db8::7]"}, ""},
		{"IPv4 in brackets", 0, []string{`for="[198.51.100.7]"`}, ""},
		{"junk behind the brackets", 0, []string{`for="[2001:db8::7]4711"`}, ""},
		{"an invalid port", 0, []string{`for="` + client + `:123456"`}, ""},
		{"an empty port", 0, []string{`for="` + client + `:"`}, ""},
		{"an empty value", 0, []string{"for="}, ""},
		{"an empty quoted value", 0, []string{`for=""`}, ""},
		{"blanks around the equals sign", 0, []string{"for = " + client}, ""},
		{"junk behind the quotes", 0, []string{`for="` + client + `"x`}, ""},
		{"a quotation mark that is not closed", 0, []string{`for="` + client}, ""},
		{"an address as long as one likes", 0, []string{`for="` + strings.Repeat("1", 100_000) + `"`}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := forwardedProxies(t, tc.count).Client(tc.lines)
			if tc.want == "" {
				if !errors.Is(err, ErrNoClient) {
					t.Fatalf("Client = %v, %v; want none", got, err)
				}
			} else if err != nil || got.String() != tc.want {
				t.Fatalf("Client = %v, %v; want %s", got, err, tc.want)
			}
		})
	}
}

// TestClientErrors distinguishes a chain without addresses from one of proxies alone.
func TestClientErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		count int
		lines []string
		want  error
	}{
		{0, nil, ErrNoClient},
		{0, []string{" , "}, ErrNoClient},
		{0, []string{"junk"}, ErrNoClient},
		{0, []string{"junk, 10.0.0.2"}, ErrNoClient},
		{0, []string{"10.0.0.3, 10.0.0.2"}, ErrOnlyProxies},
		{0, []string{strings.Repeat("10.0.0.2,", maxHops)}, ErrNoClient},
		{2, []string{"10.0.0.2"}, ErrNoClient},
		{2, []string{"6.6.6.6, 198.51.100.7"}, ErrNoClient},
		{2, []string{"6.6.6.6, 10.0.0.2"}, nil},
	} {
		if got, err := proxies(t, tc.count, "10.0.0.0/8").Client(tc.lines); !errors.Is(err, tc.want) {
			t.Errorf("Client(%.40q) with count %d = %v, %v; want %v", tc.lines, tc.count, got, err, tc.want)
		}
	}
}

// TestOtherHeader: any header but Forwarded is a list of addresses.
func TestOtherHeader(t *testing.T) {
	t.Parallel()
	p := proxies(t, 0, "10.0.0.0/8")
	if got := p.HeaderName(); got != "X-Forwarded-For" {
		t.Errorf("by default it reads %s", got)
	}
	p.Header = "X-Real-Ip"
	got, ok := p.ClientAddr("10.0.0.1:1", []string{"198.51.100.7"})
	if p.HeaderName() != "X-Real-Ip" || !ok || got.String() != "198.51.100.7" {
		t.Errorf("%s names %v", p.HeaderName(), got)
	}
}

// FuzzForwarded: what a client puts in front of a proxy's element changes nothing; no
// header at all makes a trusted address the client, nor costs a panic.
func FuzzForwarded(f *testing.F) {
	f.Add(`for="`, `for=1.2.3.4`)
	f.Add(`for=6.6.6.6;x="\`, `proto=https;for="[2001:db8::1]:_x"`)
	f.Add(`,";,\"`, `for="10.0.0.1, for=unknown`)
	f.Fuzz(func(t *testing.T, left, header string) {
		trust := forwardedProxies(t, 0)
		got, err := trust.Client([]string{header})
		if err == nil && trust.Trusts(got) {
			t.Fatalf("%q makes the proxy %v a client", header, got)
		}
		for _, element := range []string{"for=198.51.100.7", `for="198.51.100.7:1";host="a,\"b"`, `host="\\";for="\198.51.100.7"`} {
			for _, lines := range [][]string{{left + "," + element}, {left, element}, {left, element + ",for=10.0.0.2"}} {
				if got, err := trust.Client(lines); err != nil || got.String() != "198.51.100.7" {
					t.Fatalf("Client(%q) = %v, %v", lines, got, err)
				}
			}
		}
		if addr, ok := forwardedFor(header); ok && !strings.Contains(strings.ToLower(header), "for=") {
			t.Fatalf("%q names %v", header, addr)
		}
	})
}

func BenchmarkForwarded(b *testing.B) {
	trust := forwardedProxies(b, 0)
	lines := []string{`for=6.6.6.6, for="198.51.100.7:4711";proto=https;by=10.0.0.1, for=10.0.0.2`}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.Client(lines); err != nil {
			b.Fatal(err)
		}
	}
}
