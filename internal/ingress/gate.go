package ingress

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// A gate decides about subjects for HTTP and gRPC alike, and keeps count.
type gate struct {
	checker  *checker.Checker
	metrics  *metrics
	requests *requests
	log      *slog.Logger
	distrust *limiter
	lone     *lonePeer
	header   string // that names the client
	now      func() time.Time
}

// decide checks s, whose request has the method. err says why something about it isn't known;
// unless what is known is blocked, the fail mode answers then.
func (g *gate) decide(ctx context.Context, s checker.Subject, method string, err error) checker.Decision {
	start := g.now()
	if errors.Is(err, checker.ErrOnlyProxies) { // known well enough: it is one of the proxies
		g.metrics.proxies.Inc()
		err = nil
	}
	d := g.checker.Check(ctx, s)
	if err != nil && !d.Blocked && d.Err == nil {
		d = g.checker.Fail(ctx, s, err)
	}
	g.metrics.decided(d, g.now().Sub(start))
	g.requests.publish(&s, method, d)
	return d
}

// cameFrom notes the peer, and whether that is a peer that isn't trusted and names another client.
func (g *gate) cameFrom(from peer, named bool) {
	if g.lone.saw(g.now(), from.addr, named && !from.trusted) {
		time.AfterFunc(observed, g.tellOfLonePeer)
	}
}

// tellOfLonePeer warns of a proxy that is not configured as trusted.
func (g *gate) tellOfLonePeer() {
	if warning := g.lone.verdict(g.now()); warning != "" {
		g.log.Warn("a proxy is probably missing in trusted_proxies", "detail", warning)
	}
}

// distrusted counts peers that name a client and aren't believed.
func (g *gate) distrusted(ctx context.Context, remote string) {
	g.metrics.distrust.Inc()
	if left, ok := g.distrust.pass(g.now()); ok {
		g.log.LogAttrs(ctx, slog.LevelWarn, "the client that a peer names is ignored: it is not in trusted_proxies",
			slog.String("header", g.header), slog.String("peer", remote), slog.Int("left_out", left))
	}
}
