package rules

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/pkg/checker"
)

type suspiciousProxyHeaderParams struct {
	MatchOptions `yaml:",inline"`
}

// suspiciousProxyHeader matches events whose proxy headers claim a client address other than
// source.address.
type suspiciousProxyHeader struct {
	base
	proxies checker.TrustedProxies
}

func newSuspiciousProxyHeader(spec Spec, common *shared) (Rule, error) {
	p := suspiciousProxyHeaderParams{
		MatchOptions{Severity: 6, Message: "Proxy headers claimed a different client identity", Tags: []string{"proxy", "spoofing"}},
	}
	if err := decode(spec, &p, &p.MatchOptions, nil); err != nil {
		return nil, err
	}
	return &suspiciousProxyHeader{base{spec.Name, EventFilter{Any: true}, p.MatchOptions, defaultCooldown}, common.proxies}, nil
}

func (r *suspiciousProxyHeader) Judge(e *event.Event, _ []int) (Match, bool) {
	v, _ := e.Get("proxy_headers")
	headers, ok := v.(map[string]any)
	if !ok || e.Text("trusted_route") == "true" {
		return Match{}, false
	}
	client := clientOf(e)
	var suspicious []string
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if r.claimsAnother(name, headers[name], client) {
			suspicious = append(suspicious, name)
		}
	}
	if len(suspicious) == 0 {
		return Match{}, false
	}
	return r.match(e.Scope(checker.ScopeIP), map[string]any{"header_count": len(headers), "suspicious_headers": suspicious}), true
}

// Compares implements comparer.
func (r *suspiciousProxyHeader) Compares() []string { return []string{"trusted_route"} }

// A client is the source of an event: its address and the range of its ip scope. Both are zero
// if the event has no address.
type client struct {
	addr   netip.Addr
	prefix netip.Prefix
}

func clientOf(e *event.Event) client {
	var c client
	scope := e.Scope(checker.ScopeIP)
	if c.prefix, _ = netip.ParsePrefix(scope); !c.prefix.IsValid() { // of a single address: none
		c.addr, _ = netip.ParseAddr(scope)
		return c
	}
	c.addr, _ = checker.ParseAddr(e.Text("source.address"))
	return c
}

// is reports whether addr belongs to the client: its address, or another one in the range that
// is blocked with it.
func (c client) is(addr netip.Addr) bool {
	return addr.IsValid() && (addr == c.addr || c.prefix.Contains(addr))
}

// claimsAnother reports whether a client-naming header holds an address other than c's. Text
// that is not an address claims nothing.
func (r *suspiciousProxyHeader) claimsAnother(header string, value any, c client) bool {
	header = canonicalHeader(header)
	if !namesClient(header) {
		return false
	}
	ownToTheRight := false
	for _, claim := range slices.Backward(claimedClients(header, value)) {
		addr, ok := checker.ParseAddr(claim)
		switch {
		case c.is(addr) || c.is(withoutPort(claim)):
			ownToTheRight = true
		case !ok, isHop(addr), addr.IsLoopback() && ownToTheRight, r.proxies.Trusts(addr):
		default:
			return true
		}
	}
	return false
}

// withoutPort returns the address in "address:port" where address is IPv6 without brackets, as in
// CloudFront-Viewer-Address: "2001:db8::7:9985" may be port 9985 of 2001:db8::7. It returns an
// invalid address for everything else.
func withoutPort(claim string) netip.Addr {
	colon := strings.LastIndexByte(claim, ':')
	if colon < 0 || strings.IndexByte(claim, '[') >= 0 {
		return netip.Addr{}
	}
	addr, _ := checker.ParseAddr(claim[:colon])
	return addr
}

// isHop reports whether addr cannot be a client on the Internet. Proxies of offices, mobile
// carriers and clusters write such addresses all the time.
func isHop(addr netip.Addr) bool {
	return addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || carrierNAT.Contains(addr)
}

// carrierNAT is the shared address space of carrier-grade NAT, RFC 6598.
var carrierNAT = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)

// canonicalHeader returns a header's name in lower case with dashes, without the HTTP_ prefix of
// CGI and WSGI.
func canonicalHeader(name string) string {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "_", "-")
	return strings.TrimPrefix(name, "http-")
}

// namesClient reports whether a header's purpose is to carry the client's address. Others, such as
// X-Forwarded-User, CF-IPCountry and X-Amzn-Trace-Id, may hold anything.
func namesClient(header string) bool {
	switch header {
	case "forwarded", "x-forwarded", "client-ip", "forwarded-for", "cf-connecting-ipv6", "x-azure-clientip", "x-sucuri-clientip",
		"x-proxyuser-ip", "x-envoy-external-address", "cloudfront-viewer-address":
		return true
	}
	for _, suffix := range [...]string{
		"-forwarded-for", "-real-ip", "-client-ip", "-connecting-ip", "-remote-ip", "-remote-addr", "-originating-ip", "-user-ip",
	} {
		if strings.HasSuffix(header, suffix) {
			return true
		}
	}
	return false
}

// claimedClients splits a header's value into the clients it names, in order.
func claimedClients(header string, value any) []string {
	var claims []string
	for _, text := range texts(value) {
		for _, part := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(",;| \t\r\n", r) }) {
			name, claim, pair := strings.Cut(part, "=")
			if !pair {
				claim = part
			} else if strings.HasSuffix(header, "forwarded") && !strings.EqualFold(name, "for") {
				continue
			}
			if claim = strings.Trim(claim, `"'`); claim != "" {
				claims = append(claims, claim)
			}
		}
	}
	return claims
}

// texts returns the value of a header, or each of its values if it is a list.
func texts(value any) []string {
	if list, ok := value.([]any); ok {
		var out []string
		for _, item := range list {
			out = append(out, texts(item)...)
		}
		return out
	}
	text, _ := event.Text(value)
	return []string{text}
}

// Unusable implements Explainer.
func (r *suspiciousProxyHeader) Unusable(e *event.Event) Reason {
	v, ok := e.Get("proxy_headers")
	if _, isObject := v.(map[string]any); !ok || isObject || v == "" {
		return ""
	}
	return WrongShape
}
