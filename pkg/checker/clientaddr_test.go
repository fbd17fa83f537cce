package checker

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func proxies(t testing.TB, count int, ranges ...string) TrustedProxies {
	t.Helper()
	p, err := ParseTrustedProxies(ranges, count)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSpoofing is what clients try with X-Forwarded-For, and whom the
// checker takes them for. Proxies are 10.0.0.0/8 and 2001:db8:f::/48.
func TestSpoofing(t *testing.T) {
	t.Parallel()
	const peer, client = "10.0.0.1:4711", "198.51.100.7"
	long := strings.Repeat("6.6.6.6, ", 5000)
	cases := []struct {
		name   string
		count  int
		peer   string
		header []string
		want   string
	}{
		{"no header", 0, peer, nil, "10.0.0.1"},
		{"the proxy says who", 0, peer, []string{client}, client},
		{"header from a peer that is not a proxy", 0, "192.0.2.1:80", []string{client}, "192.0.2.1"},
		{"the client's own claim stands to the left", 0, peer, []string{"6.6.6.6, " + client}, client},
		{"the client claims to be a proxy", 0, peer, []string{"10.9.9.9, " + client}, client},
		{"two proxies", 0, peer, []string{"6.6.6.6, " + client + ", 10.0.0.2"}, client},
		{"the client's claim on a line of its own", 0, peer, []string{"6.6.6.6", client}, client},
		{"lines are one list, in order", 0, peer, []string{"6.6.6.6, " + client, "10.0.0.2, 10.0.0.3"}, client},
		{"garbage left of the client is never read", 0, peer, []string{"junk, " + client}, client},
		{"garbage nearer than the client ends the walk", 0, peer, []string{client + ", junk, 10.0.0.2"}, "10.0.0.1"},
		{"garbage alone", 0, peer, []string{"junk"}, "10.0.0.1"},
		{"empty elements are skipped", 0, peer, []string{" , " + client + " ,, ", ","}, client},
		{"nothing but empty elements", 0, peer, []string{" , ,", ""}, "10.0.0.1"},
		{"only proxies", 0, peer, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.1"},
		{"with a port", 0, peer, []string{client + ":55"}, client},
		{"IPv6 with port", 0, peer, []string{"[2001:db8::7]:55"}, "2001:db8::7"},
		{"IPv6 with zone", 0, peer, []string{"fe80::7%eth0"}, "fe80::7"},
		{"mapped address", 0, peer, []string{"::ffff:198.51.100.7"}, client},
		{"mapped proxies", 0, "[::ffff:10.0.0.1]:4711", []string{client + ", ::ffff:10.0.0.2"}, client},
		{"IPv6 proxy", 0, "[2001:db8:f::1]:4711", []string{client}, client},
		{"a zone doesn't make a proxy another", 0, "[2001:db8:f::1%eth0]:4711", []string{client}, client},
		{"RFC 7239 words", 0, peer, []string{"for=" + client}, "10.0.0.1"},
		{"unknown", 0, peer, []string{"unknown"}, "10.0.0.1"},
		{"a chain as long as one likes changes nothing", 0, peer, []string{long + client}, client},
		{"an address as long as one likes", 0, peer, []string{strings.Repeat("1", 100_000)}, "10.0.0.1"},
		{"64 hops are followed", 0, peer, []string{client + strings.Repeat(", 10.0.0.2", 63)}, client},
		{"and no more", 0, peer, []string{client + strings.Repeat(", 10.0.0.2", 64)}, "10.0.0.1"},

		{"count 1: the last", 1, peer, []string{"6.6.6.6, " + client}, client},
		{"count 1: even if it is a proxy", 1, peer, []string{"6.6.6.6, 10.0.0.2"}, "10.0.0.2"},
		{"count 1: from no proxy", 1, "192.0.2.1", []string{client}, "192.0.2.1"},
		{"count 1: empty elements don't count", 1, peer, []string{" , " + client + " , "}, client},
		{"count 2: the last but one", 2, peer, []string{"6.6.6.6, " + client + ", 10.0.0.2"}, client},
		{"count 2: over lines", 2, peer, []string{"6.6.6.6, " + client, "10.0.0.2"}, client},
		{"count 2: a hop that is not a proxy", 2, peer, []string{"6.6.6.6, " + client}, "10.0.0.1"},
		{"count 2: a hop that is garbage", 2, peer, []string{client + ", junk"}, "10.0.0.1"},
		{"count 2: the client is garbage", 2, peer, []string{"junk, 10.0.0.2"}, "10.0.0.1"},
		{"count 2: too short a chain", 2, peer, []string{"10.0.0.2"}, "10.0.0.1"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ok := proxies(t, tc.count, "10.0.0.0/8", "2001:db8:f::/48").ClientAddr(tc.peer, tc.header)
			if !ok || got.String() != tc.want {
				t.Fatalf("ClientAddr = %v, %v; want %s", got, ok, tc.want)
			}
		})
	}
}

// TestHeaderWithPortIsOneClient: in a header that always carries a port one client is one address,
// whatever its port.
func TestHeaderWithPortIsOneClient(t *testing.T) {
	t.Parallel()
	trust := proxies(t, 0, "10.0.0.0/8")
	trust.Header = HeaderCloudFrontViewer
	for value, want := range map[string]string{
		"2001:db8:a:b::7:9985": "2001:db8:a:b::7", "2001:db8:a:b::7:1": "2001:db8:a:b::7", "2001:db8:a:b::7:49152": "2001:db8:a:b::7", "2001:db8:a:b::7:443": "2001:db8:a:b::7",
		"2001:db8:1:2:3:4:5:6:9985": "2001:db8:1:2:3:4:5:6", "::1:80": "::1", "::ffff:198.51.100.7:80": "198.51.100.7", "fe80::1%eth0:80": "fe80::1",
		"198.51.100.7:46532": "198.51.100.7", "[2001:db8::7]:9985": "2001:db8::7", "[2001:db8::7]": "2001:db8::7", "198.51.100.7": "198.51.100.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2:3:4:5:6", "2001:db8::abcd": "2001:db8::abcd", "6.6.6.6:1, 198.51.100.7:2": "198.51.100.7",
		"unknown": "10.0.0.1", "198.51.100.7:x": "10.0.0.1", "198.51.100.7:": "10.0.0.1", ":80": "10.0.0.1", "": "10.0.0.1",
	} {
		if got, ok := trust.ClientAddr("10.0.0.1:1", []string{value}); !ok || got.String() != want {
			t.Errorf("%q: %v, %v; want %s", value, got, ok, want)
		}
	}
}

func TestNoProxyIsTrustedByDefault(t *testing.T) {
	t.Parallel()
	got, ok := TrustedProxies{Count: 1}.ClientAddr("127.0.0.1:80", []string{"198.51.100.7"})
	if !ok || got.String() != "127.0.0.1" {
		t.Fatalf("ClientAddr = %v, %v", got, ok)
	}
}

func TestPeerWithoutAddress(t *testing.T) {
	t.Parallel()
	for _, peer := range []string{"", "@", "unix:", "pipe"} {
		if got, ok := proxies(t, 0, "0.0.0.0/0", "::/0").ClientAddr(peer, []string{"198.51.100.7"}); ok {
			t.Errorf("ClientAddr(%q) = %v", peer, got)
		}
	}
}

func TestParseTrustedProxies(t *testing.T) {
	t.Parallel()
	got := proxies(t, 2, "10.1.2.3/8", " 192.0.2.1 ", "", "::ffff:172.16.0.0/108", "::ffff:192.0.2.2", "2001:db8::1/32", "fe80::1%eth0")
	want := []string{"10.0.0.0/8", "192.0.2.1/32", "172.16.0.0/12", "192.0.2.2/32", "2001:db8::/32", "fe80::1/128"}
	var texts []string
	for _, p := range got.Prefixes {
		texts = append(texts, p.String())
	}
	if !slices.Equal(texts, want) || got.Count != 2 {
		t.Fatalf("got %v, count %d; want %v", texts, got.Count, want)
	}
	for _, bad := range []string{"10.0.0.0/33", "10.0.0/8", "proxy.example", "10.0.0.1:80", "fe80::1%eth0/64", "10.0.0.0 /8"} {
		if p, err := ParseTrustedProxies([]string{bad}, 0); err == nil {
			t.Errorf("ParseTrustedProxies(%q) = %v, want an error", bad, p)
		}
	}
	if _, err := ParseTrustedProxies(nil, -1); err == nil {
		t.Error("a negative count is accepted")
	}
}

// FuzzClientAddr holds the rule against a plain reading of it, and holds what no
// header may ever bring about: that an untrusted peer is believed, or that what stands left
// of the client's address matters.
func FuzzClientAddr(f *testing.F) {
	f.Add("10.0.0.1:1", "6.6.6.6, 1.2.3.4", "10.0.0.2", uint8(0))
	f.Add("192.0.2.1", "1.2.3.4", "", uint8(1))
	f.Add("[::ffff:10.0.0.1]:1", " , 1.2.3.4:55 ,", "[2001:db8::1]:2,junk", uint8(2))
	f.Fuzz(func(t *testing.T, peer, first, second string, count uint8) {
		trust := proxies(t, int(count%4), "10.0.0.0/8", "2001:db8:f::/48")
		lines := []string{first, second}
		got, ok := trust.ClientAddr(peer, lines)
		peerAddr, peerOK := ParseAddr(peer)
		if ok != peerOK {
			t.Fatalf("ClientAddr(%q) reports %v", peer, ok)
		}
		if !ok {
			return
		}
		if want := plainClientAddr(trust, peerAddr, lines); got != want {
			t.Fatalf("ClientAddr(%q, %q) count %d = %v, want %v", peer, lines, trust.Count, got, want)
		}
		if !trust.Trusts(peerAddr) && got != peerAddr {
			t.Fatalf("untrusted peer %q was believed: %v", peer, got)
		}
		if got != peerAddr {
			more := append([]string{"6.6.6.6, junk, 10.0.0.9,"}, lines...)
			if again, _ := trust.ClientAddr(peer, more); again != got {
				t.Fatalf("a claim on the left changed %v to %v", got, again)
			}
		}
	})
}

// plainClientAddr is the rule of the specification, word for word.
func plainClientAddr(trust TrustedProxies, peer netip.Addr, lines []string) netip.Addr {
	var chain []string
	for _, element := range strings.Split(strings.Join(lines, ","), ",") {
		chain = append(chain, strings.TrimSpace(element))
	}
	slices.Reverse(chain)
	if !trust.Trusts(peer) {
		return peer
	}
	chain = chain[:min(len(chain), maxHops)]
	chain = slices.DeleteFunc(chain, func(e string) bool { return e == "" })
	for i, element := range chain {
		addr, ok := ParseAddr(element)
		switch {
		case !ok:
			return peer
		case trust.Count > 0 && i == trust.Count-1, trust.Count == 0 && !trust.Trusts(addr):
			return addr
		case !trust.Trusts(addr):
			return peer
		}
	}
	return peer
}
