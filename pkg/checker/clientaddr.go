package checker

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxHops is how many addresses of a chain are read, from the right. Addresses that a client forges
// are to the left of its own, so a client cannot exhaust the limit.
const maxHops = 64

// Headers in which proxies send the client's address. [HeaderForwarded] has the syntax of RFC 7239,
// [HeaderCloudFrontViewer] is an address with a port, and any other header is a list of addresses.
const (
	HeaderXForwardedFor    = "X-Forwarded-For" // the default
	HeaderForwarded        = "Forwarded"
	HeaderCloudFrontViewer = "Cloudfront-Viewer-Address" // CloudFront-Viewer-Address, as net/http writes it
)

// Errors of [TrustedProxies.Client].
var (
	// ErrNoClient: the header names no client address that a trusted proxy vouches for.
	ErrNoClient = NewError("no_client", "no address of a client in the chain of proxies")
	// ErrOnlyProxies: the request was sent by one of the trusted proxies themselves.
	ErrOnlyProxies = errors.New("every address in the chain is a trusted proxy's")
)

// TrustedProxies are the proxies whose header about the client's address is believed. The zero
// value trusts no proxy: the peer is the client.
type TrustedProxies struct {
	// Prefixes are the addresses of the proxies. See [ParseTrustedProxies].
	Prefixes []netip.Prefix
	// Count, if positive, is the number of proxies, the peer included: the client is then the
	// Count-th address of the chain from the right. If 0, the client is the rightmost address
	// outside Prefixes.
	Count int
	// Header is the only header that is read, in canonical form. Empty means [HeaderXForwardedFor].
	Header string
}

// HeaderName returns the header to read, in the canonical form of [net/http.Header] keys.
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

// ClientAddr returns the client's address. peer is the remote end of the connection ("ip" or
// "ip:port"); lines are the values of all lines of the header, in order. The result is peer, unless
// peer is a trusted proxy and lines name the client. It returns false if peer is not an address, as
// with Unix sockets.
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

// Client returns the client's address according to lines, the values of all header lines of a
// trusted proxy, in order. It reads the chain from the right; nothing to the left of the client's
// address is read. It returns [ErrNoClient] if there is no chain, a hop cannot be parsed or is not
// trusted to name the next one, or the chain is shorter than Count, and [ErrOnlyProxies] if every
// hop is a trusted proxy.
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
	rest    string // the unread part of the current line
	pending bool   // rest holds another element, which may be empty
}

// next returns the next element. cut returns the index of the comma before the last element, or -1.
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

// addrWithPort parses an address that is known to end in a port, though IPv6 is without brackets:
// "2001:db8::7:9985" is port 9985 of 2001:db8::7.
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
