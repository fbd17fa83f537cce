package ingress

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wardstream/wardstream/pkg/checker"
)

// errAmbiguous is the failure of a check whose request has an identity header more
// than once: one of them may be the client's own.
var errAmbiguous = checker.NewError("ambiguous_identity", "the identity header is there more than once")

// clients determines the client: from the peer and, if that is a trusted proxy, from what it says.
type clients struct {
	proxies    checker.TrustedProxies
	trustUnix  bool // the peers of our Unix sockets are proxies
	identities []identity
}

// A peer is the other end of a connection.
type peer struct {
	addr    netip.Addr // none for a Unix socket
	trusted bool
}

// peer reads what net calls the remote address. Listeners see to it that only
// Unix sockets have peers without an address.
func (c *clients) peer(remote string) peer {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return peer{trusted: c.trustUnix}
	}
	addr := ap.Addr().Unmap().WithZone("")
	return peer{addr: addr, trusted: c.proxies.Trusts(addr)}
}

// identify sets what a trusted proxy says of users and sessions. values returns a header's.
func (c *clients) identify(s *checker.Subject, values func(header string) []string) error {
	var err error
	for _, id := range c.identities {
		switch all := values(id.header); len(all) {
		case 0:
		case 1:
			id.set(s, all[0])
		default:
			err = fmt.Errorf("read %s: %w", id.header, errAmbiguous)
		}
	}
	return err
}

// uriPath returns the path of a request URI, or of a whole URL, without the query; "" where there
// is none to be made out. The host of a whole URL is what the client says it is: it can't reach
// into the path.
func uriPath(uri string) string {
	if scheme, rest, ok := strings.Cut(uri, "://"); ok && !strings.ContainsAny(scheme, "/?#") {
		slash := strings.IndexAny(rest, "/?#")
		if slash < 0 || rest[slash] != '/' {
			return ""
		}
		uri = rest[slash:]
	}
	if !strings.HasPrefix(uri, "/") {
		return ""
	}
	path := uri
	if end := strings.IndexAny(uri, "?#"); end >= 0 {
		path = uri[:end]
	}
	if !strings.Contains(path, "%") {
		return path
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return ""
	}
	return plain
}
