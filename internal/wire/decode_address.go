package wire

import (
	"net/netip"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

// IPv6Port says what the last group of an address such as 2001:db8::7:9985 is where that is
// ambiguous: all of it may be the address, or 9985 the port of 2001:db8::7, by a producer that
// writes no brackets.
type IPv6Port string

// What the last group may be.
const (
	PortUnknown IPv6Port = ""        // ambiguous: the event has no ip scope, which is reported
	PortNever   IPv6Port = "address" // producers send no ports without brackets
	PortAlways  IPv6Port = "port"    // producers send a port with every address
)

// address reads the text of source.address. What a serialiser adds around an address is taken off:
// quotes, /32 and /128, a port without brackets. What may mean several addresses (a list of
// different ones, a range, a name) is not an address.
func (d *Decoder) address(text string) (netip.Addr, bool) {
	if addr, ok := checker.ParseAddr(text); ok {
		return d.unlessPort(text, addr)
	}
	text = strings.TrimSpace(withoutQuotes(text))
	if addr, ok := checker.ParseAddr(text); ok {
		return d.unlessPort(text, addr)
	}
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Addr().Unmap(), prefix.IsSingleIP()
	}
	if addr, ok := barePort(text); ok {
		return addr, true
	}
	return d.repeatedAddress(text)
}

// repeatedAddress reads a list that has one address several times.
func (d *Decoder) repeatedAddress(text string) (one netip.Addr, ok bool) {
	text = strings.Trim(text, "[]")
	if len(text) > maxAddressList {
		return netip.Addr{}, false
	}
	for part := range strings.SplitSeq(text, ",") {
		addr, ok := checker.ParseAddr(withoutQuotes(part))
		if !ok || one.IsValid() && addr != one {
			return netip.Addr{}, false
		}
		one = addr
	}
	return d.unlessPort(text, one)
}

// maxAddressList is the longest list of addresses that is read, in bytes.
const maxAddressList = 1024

// barePort reads an IPv6 address with a port and no brackets, where the port can't be part of the
// address.
func barePort(text string) (netip.Addr, bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 || !isPort(text[i+1:]) {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(text[:i])
	return addr.Unmap().WithZone(""), err == nil && addr.Is6()
}

// isPort reports whether s is a port.
func isPort(s string) bool { return isDigits(s) && len(s) <= 5 && (len(s) < 5 || s <= "65535") }

// unlessPort returns addr, which text is, unless the last group of text may as well be a port.
// Ports of clients have four digits or five, and five are not a group.
func (d *Decoder) unlessPort(text string, addr netip.Addr) (netip.Addr, bool) {
	if d.opts.IPv6Port == PortNever || !addr.Is6() || strings.IndexByte(text, '[') >= 0 {
		return addr, true
	}
	text = strings.TrimSpace(text)
	n := len(text)
	if n < 6 || text[n-5] != ':' || text[n-4] == '0' || !isDigits(text[n-4:]) {
		return addr, true
	}
	host, err := netip.ParseAddr(text[:n-5])
	switch {
	case err != nil:
		return addr, true
	case d.opts.IPv6Port == PortAlways:
		return host.WithZone(""), true
	}
	return addr, checker.IPScope(host, d.opts.IPv6Prefix) == checker.IPScope(addr, d.opts.IPv6Prefix)
}

// conflict reports whether the attributes that name the client's address name several.
func (d *Decoder) conflict(attrs []event.Attr) bool {
	var first netip.Addr
	for _, text := range event.Addresses(attrs) {
		addr, ok := d.address(text)
		if !ok {
			continue
		}
		if first.IsValid() && addr != first {
			return true
		}
		first = addr
	}
	return false
}
