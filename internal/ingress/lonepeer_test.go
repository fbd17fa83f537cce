package ingress

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestLonePeerIsReported(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type request struct {
		at    time.Duration
		peer  string
		named bool
	}
	for name, tc := range map[string]struct {
		requests []request
		at       time.Duration
		warns    bool
	}{
		"a proxy on this host":                      {[]request{{0, "127.0.0.1", true}, {30 * time.Second, "127.0.0.1", true}}, time.Minute, true},
		"one request":                               {[]request{{0, "127.0.0.1", true}}, time.Hour, true},
		"a proxy in a private network":              {[]request{{0, "10.0.0.7", true}}, time.Minute, true},
		"of IPv6":                                   {[]request{{0, "fd00::7", true}}, time.Minute, true},
		"of a carrier's":                            {[]request{{0, "100.64.3.1", true}}, time.Minute, true},
		"before the minute is over":                 {[]request{{0, "127.0.0.1", true}}, 59 * time.Second, false},
		"no request":                                {nil, time.Hour, false},
		"one that names no client":                  {[]request{{0, "127.0.0.1", true}, {time.Second, "127.0.0.1", false}, {2 * time.Second, "127.0.0.1", true}}, time.Minute, false},
		"two peers":                                 {[]request{{0, "127.0.0.1", true}, {time.Second, "10.0.0.7", true}}, time.Minute, false},
		"a client from the Internet":                {[]request{{0, "203.0.113.9", true}}, time.Minute, false},
		"a Unix socket":                             {[]request{{0, "", true}}, time.Minute, false},
		"later ones are not of the first minute":    {[]request{{0, "127.0.0.1", true}, {2 * time.Minute, "203.0.113.9", false}}, time.Hour, true},
		"and do not make it one if it was ordinary": {[]request{{0, "127.0.0.1", false}, {time.Second, "127.0.0.1", true}}, time.Hour, false},
	} {
		var l lonePeer
		for n, r := range tc.requests {
			peer, _ := netip.ParseAddr(r.peer)
			if first := l.saw(begin.Add(r.at), peer, r.named); first != (n == 0) {
				t.Errorf("%s: request %d is the first: %v", name, n, first)
			}
		}
		if got := l.verdict(begin.Add(tc.at)); (got != "") != tc.warns {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestUntrustedProxyIsReported: without trusted proxies, behind one, the operator is warned after a
// minute, in the log and at /readyz; with the proxy named there is nothing to report.
func TestUntrustedProxyIsReported(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	for name, trusted := range map[string][]string{"none": nil, "another": {"10.0.0.0/8"}, "it": {"127.0.0.1"}} {
		i := start(t, func(o *Options) {
			onRedis(env)(o)
			o.TrustedProxies = trusted
		})
		for _, client := range []string{visitor, attacker} {
			i.ask("/nginx", "X-Forwarded-For", client)
		}
		if res := i.ask("/readyz"); res.status != 200 || res.body != "ready\n" {
			t.Errorf("%s, at first: %d %q", name, res.status, res.body)
		}
		i.server.lone.mu.Lock()
		i.server.lone.begin = i.server.lone.begin.Add(-observed) // a minute passes
		i.server.lone.mu.Unlock()
		res := i.ask("/readyz")
		if warns := strings.Contains(res.body, "--trusted-proxies 127.0.0.1\n"); res.status != 200 || !strings.HasPrefix(res.body, "ready\n") || warns != (name != "it") {
			t.Errorf("%s: %d %q", name, res.status, res.body)
		}
	}
}

// TestLonePeerIsLogged: once the minute is over, and only if there is something to say.
func TestLonePeerIsLogged(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := &gate{lone: &lonePeer{}, log: slog.New(slog.NewJSONHandler(log, nil)), now: func() time.Time { return now }}
	g.cameFrom(peer{addr: netip.MustParseAddr("127.0.0.1")}, true)
	g.tellOfLonePeer()
	now = now.Add(observed)
	g.tellOfLonePeer()
	lines := log.lines(t, "a proxy is probably missing in trusted_proxies")
	if len(lines) != 1 || lines[0]["level"] != "WARN" || !strings.Contains(fmt.Sprint(lines[0]["detail"]), "--trusted-proxies 127.0.0.1") {
		t.Errorf("log lines %v", lines)
	}
}

// TestNamesOtherClient: a header without an address, or with the peer itself, names no other
// client.
func TestNamesOtherClient(t *testing.T) {
	t.Parallel()
	peer := netip.MustParseAddr("127.0.0.1")
	for header, lines := range map[string]map[string]bool{
		"X-Forwarded-For": {"": false, "unknown": false, "127.0.0.1": false, "203.0.113.9": true, "127.0.0.1, 203.0.113.9": true, "::ffff:127.0.0.1": false},
		"Forwarded":       {"for=203.0.113.9": true, "for=127.0.0.1": false, "203.0.113.9": false},
	} {
		for line, want := range lines {
			if got := namesOther(header, []string{line}, peer); got != want {
				t.Errorf("%s: %s: %v", header, line, got)
			}
		}
	}
	if namesOther("X-Forwarded-For", nil, peer) {
		t.Error("no header names another")
	}
}
