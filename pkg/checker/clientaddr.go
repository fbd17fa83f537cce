package checker

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxHops is how many addresses of a chain are looked at, from the right. What a
// client puts into the chain itself stands to the left of its own address, so no client can
// use them up.
const maxHops = 64

// TrustedProxies says whose word about the client's address is taken. The zero
// value trusts nobody: the peer is the client.
type TrustedProxies struct {
	// Prefixes are the addresses of the proxies. See [ParseTrustedProxies].
	Prefixes []netip.Prefix
	// Count, if positive, is how many proxies there are, the peer included: the client is then
	// the Count-th address of the chain from the right. 0 means the rightmost
	// address that is in none of the Prefixes.
	Count int
}

// ParseTrustedProxies reads proxies given as CIDR ranges or single addresses.
func ParseTrustedProxies(ranges []string, count int) (TrustedProxies, error) {
	if count < 0 {
		return TrustedProxies{}, fmt.Errorf("parse trusted proxies: the count %d is negative", count)
	}
	t := TrustedProxies{Count: count}
	for _, text := range ranges {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, err := parsePrefix(text)
		if err != nil {
			return TrustedProxies{}, fmt.Errorf("parse trusted proxies: %q is neither a CIDR range nor an address", text)
		}
		t.Prefixes = append(t.Prefixes, prefix)
	}
	return t, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("parse address: %w", err)
		}
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("parse prefix: %w", err)
	}
	if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

// Trusts reports whether addr is one of the proxies.
func (t TrustedProxies) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range t.Prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientAddr returns the address of the client: peer, the other end of the
// connection ("ip" or "ip:port"), unless peer is a trusted proxy and forwardedFor, the values
// of all X-Forwarded-For lines in their order, names the client. Of that chain nothing
// left of the client's address is believed or even read. It reports false
// where peer is no address, as with Unix sockets.
func (t TrustedProxies) ClientAddr(peer string, forwardedFor []string) (netip.Addr, bool) {
	addr, ok := ParseAddr(peer)
	if !ok {
		return netip.Addr{}, false
	}
	if !t.Trusts(addr) {
		return addr, true
	}
	if client, ok := t.walk(chain{lines: forwardedFor}); ok {
		return client, true
	}
	return addr, true
}

// walk follows the chain from the peer towards the client. It reports false where
// a hop can't be parsed, isn't trusted to speak of the next one, or the chain ends.
func (t TrustedProxies) walk(c chain) (netip.Addr, bool) {
	hops := 0
	for range maxHops {
		element, ok := c.next()
		if !ok {
			return netip.Addr{}, false
		}
		if element == "" {
			continue
		}
		addr, ok := ParseAddr(element)
		if !ok {
			return netip.Addr{}, false
		}
		hops++
		trusted := t.Trusts(addr)
		if (t.Count > 0 && hops == t.Count) || (t.Count == 0 && !trusted) {
			return addr, true
		}
		if !trusted {
			return netip.Addr{}, false
		}
	}
	return netip.Addr{}, false
}

// A chain yields the comma-separated elements of header lines from right to left.
type chain struct {
	lines   []string
	rest    string // what is left of the line at hand
	pending bool   // rest holds one more element, perhaps an empty one
}

func (c *chain) next() (string, bool) {
	if !c.pending {
		if len(c.lines) == 0 {
			return "", false
		}
		last := len(c.lines) - 1
		c.rest, c.lines, c.pending = c.lines[last], c.lines[:last], true
	}
	element := c.rest
	if comma := strings.LastIndexByte(c.rest, ','); comma >= 0 {
		element, c.rest = c.rest[comma+1:], c.rest[:comma]
	} else {
		c.pending = false
	}
	return strings.TrimSpace(element), true
}
