package checker

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxHops is how many addresses of a chain are looked at, from the right. What a
// client puts into the chain itself stands to the left of its own address, so no client can
// use them up.
const maxHops = 64

// The headers in which proxies say who the client is. [HeaderForwarded] has the syntax of
// RFC 7239, [HeaderCloudFrontViewer] an address with its port, and any other is a list of addresses.
const (
	HeaderXForwardedFor    = "X-Forwarded-For" // the default
	HeaderForwarded        = "Forwarded"
	HeaderCloudFrontViewer = "Cloudfront-Viewer-Address" // canonical, as CloudFront-Viewer-Address is in net/http
)

// What a header of a trusted proxy may leave open. See [TrustedProxies.Client].
var (
	// ErrNoClient: it names nobody, or what it says can't be followed to the client.
	ErrNoClient = NewError("no_client", "no address of a client in the chain of proxies")
	// ErrOnlyProxies: the request comes from one of the trusted proxies themselves.
	ErrOnlyProxies = errors.New("every address in the chain is a trusted proxy's")
)

// TrustedProxies says whose word about the client's address is taken. The zero
// value trusts nobody: the peer is the client.
type TrustedProxies struct {
	// Prefixes are the addresses of the proxies. See [ParseTrustedProxies].
	Prefixes []netip.Prefix
	// Count, if positive, is how many proxies there are, the peer included: the client is then
	// the Count-th address of the chain from the right. 0 means the rightmost
	// address that is in none of the Prefixes.
	Count int
	// Header is the one header that is read, in its canonical form. Empty means [HeaderXForwardedFor].
	Header string
}

// HeaderName returns the header to read, canonical: a key of [net/http.Header].
func (t TrustedProxies) HeaderName() string {
	if t.Header == "" {
		return HeaderXForwardedFor
	}
	return t.Header
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
// connection ("ip" or "ip:port"), unless peer is a trusted proxy and lines, the values
// of all lines of the header in their order, name the client. It reports false
// where peer is no address, as with Unix sockets.
func (t TrustedProxies) ClientAddr(peer string, lines []string) (netip.Addr, bool) {
	addr, ok := ParseAddr(peer)
	if !ok {
		return netip.Addr{}, false
	}
	if !t.Trusts(addr) {
		return addr, true
	}
	if client, err := t.Client(lines); err == nil {
		return client, true
	}
	return addr, true
}

// Client returns the client that the header of a peer names which is known to be a trusted proxy;
// lines are the values of all lines of that header, in their order. It follows the chain from
// the right: nothing left of the client's address is believed or even read. Its errors are
// [ErrNoClient] (no chain, a hop that can't be parsed, one that isn't trusted to speak of the
// next, a chain shorter than Count) and [ErrOnlyProxies].
func (t TrustedProxies) Client(lines []string) (netip.Addr, error) {
	c := chain{lines: lines}
	parse, cut := ParseAddr, lastComma
	switch t.Header {
	case HeaderForwarded:
		parse, cut = forwardedFor, lastCommaUnquoted
	case HeaderCloudFrontViewer:
		parse = addrWithPort
	}
	hops := 0
	for range maxHops {
		element, ok := c.next(cut)
		switch {
		case !ok && hops > 0 && t.Count == 0:
			return netip.Addr{}, ErrOnlyProxies
		case !ok:
			return netip.Addr{}, ErrNoClient
		case element == "":
			continue
		}
		addr, ok := parse(element)
		if !ok {
			return netip.Addr{}, ErrNoClient
		}
		hops++
		trusted := t.Trusts(addr)
		if (t.Count > 0 && hops == t.Count) || (t.Count == 0 && !trusted) {
			return addr, nil
		}
		if !trusted {
			return netip.Addr{}, ErrNoClient
		}
	}
	return netip.Addr{}, ErrNoClient
}

// A chain yields the comma-separated elements of header lines from right to left.
type chain struct {
	lines   []string
	rest    string // what is left of the line at hand
	pending bool   // rest holds one more element, perhaps an empty one
}

// next returns the next element. cut finds the comma before the last element of a text, or -1.
func (c *chain) next(cut func(string) int) (string, bool) {
	if !c.pending {
		if len(c.lines) == 0 {
			return "", false
		}
		last := len(c.lines) - 1
		c.rest, c.lines, c.pending = c.lines[last], c.lines[:last], true
	}
	element := c.rest
	if comma := cut(c.rest); comma >= 0 {
		element, c.rest = c.rest[comma+1:], c.rest[:comma]
	} else {
		c.pending = false
	}
	return strings.TrimSpace(element), true
}

// addrWithPort reads an address that is known to have a port behind its last colon, although an IPv6 address has no
// brackets: "2001:db8::7:9985" is 2001:db8::7, and not another client for each port.
func addrWithPort(s string) (netip.Addr, bool) {
	colon := strings.LastIndexByte(s, ':')
	if digits := len(s) - colon - 1; colon < 0 || len(s) > maxAddrText || digits == 0 || digits > len("65535") || strings.Trim(s[colon+1:], "0123456789") != "" {
		return ParseAddr(s)
	}
	if addr, ok := ParseAddr(s[:colon]); ok {
		return addr, true
	}
	return ParseAddr(s)
}

func lastComma(s string) int { return strings.LastIndexByte(s, ',') }
