package ingress

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// observed is how long requests are looked at, from the first on.
const observed = time.Minute

// A lonePeer finds the proxy that is not configured as one: in the first minute every request comes
// from the same private address, which is not trusted and names other clients. Then that address is
// checked in place of all of them, and blocked clients get in. Safe for concurrent use.
type lonePeer struct {
	settled atomic.Bool // nothing more to learn

	mu       sync.Mutex
	begin    time.Time // of the first request
	peer     netip.Addr
	requests int
	ordinary bool // some request came otherwise
}

// saw notes a request of a peer at now. named: the peer isn't trusted, and names a client that
// isn't itself. first reports whether it is the first request, after which a verdict is due in
// [observed].
func (l *lonePeer) saw(now time.Time, peer netip.Addr, named bool) (first bool) {
	if l.settled.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if first = l.begin.IsZero(); first {
		l.begin, l.peer = now, peer
	}
	if now.Sub(l.begin) >= observed {
		l.settled.Store(true)
		return false
	}
	l.requests++
	if !named || peer != l.peer || !isPrivate(peer) {
		l.ordinary = true
		l.settled.Store(true)
	}
	return first
}

// verdict returns the warning for the operator at now, or "".
func (l *lonePeer) verdict(now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begin.IsZero() || l.ordinary || now.Sub(l.begin) < observed {
		return ""
	}
	return fmt.Sprintf("all %d requests of the first minute came from %s, which names other clients and is not in trusted_proxies: "+
		"it is checked in place of them, so blocked clients get in. If it is your proxy, start with --trusted-proxies %[2]s", l.requests, l.peer)
}

// isPrivate reports whether addr is of a kind that proxies have and clients from the Internet
// don't.
func isPrivate(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || carrierGrade.Contains(addr)
}

// carrierGrade is the shared address space (RFC 6598), which some clouds give to balancers.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// namesOther reports whether the last address in a header's lines is another than the peer's.
func namesOther(header string, lines []string, peer netip.Addr) bool {
	client, err := checker.TrustedProxies{Header: header}.Client(lines)
	return err == nil && client != peer
}
