package ingress

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// TestRoutes: ingress-check answers proxies, and serves its health and its metrics; nothing changes
// anything, and there is no profiler and no reflection of what gRPC offers. A change that adds a
// route that does more adds its token, compared in constant time, and what
// docs/explanation/security.md says of it.
func TestRoutes(t *testing.T) {
	t.Parallel()
	if got := slices.Sorted(maps.Keys(endpoints())); !slices.Equal(got, []string{"/", "/caddy", "/envoy", "/haproxy", "/ingress-nginx", "/nginx", "/traefik"}) {
		t.Errorf("endpoints %q", got)
	}
	if got := slices.Sorted(maps.Keys((&Server{metrics: newMetrics()}).operations())); !slices.Equal(got, []string{"/healthz", "/metrics", "/readyz"}) {
		t.Errorf("operations %q", got)
	}
	services := slices.Sorted(maps.Keys(newGRPCServer(&extAuthz{}).server.GetServiceInfo()))
	if !slices.Equal(services, []string{"envoy.service.auth.v3.Authorization", "grpc.health.v1.Health"}) {
		t.Errorf("gRPC services %q", services)
	}
	env := testenv.Redis(t)
	apart := start(t, func(o *Options) { onRedis(env)(o); o.HTTPAddr = "127.0.0.1:0" })
	together := start(t, onRedis(env))
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/blocks"} {
		for _, addr := range []string{apart.server.Addr(), apart.server.HTTPAddr(), together.server.Addr()} {
			if got := get(t, "http://"+addr+path); got.status != http.StatusNotFound {
				t.Errorf("%s%s: %d", addr, path, got.status)
			}
		}
	}
	if got := get(t, "http://"+apart.server.Addr()+"/metrics"); got.status != http.StatusNotFound {
		t.Errorf("metrics where proxies ask, though they have a listener of their own: %d", got.status)
	}
}
