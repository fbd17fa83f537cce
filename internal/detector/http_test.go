package detector

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

type healthy struct{}

func (healthy) Alive() error { return nil }
func (healthy) Ready() error { return nil }

// TestHTTPRoutesAreReadOnly: there is nothing to ask for but figures and health, nothing that
// changes anything, and no profiler. A change that adds a route that does more adds its token,
// compared in constant time, and what docs/explanation/security.md says of it.
func TestHTTPRoutesAreReadOnly(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if got := slices.Sorted(maps.Keys(routes(registry, healthy{}))); !slices.Equal(got, []string{"GET /healthz", "GET /metrics", "GET /readyz"}) {
		t.Errorf("routes %q", got)
	}
	server := newHTTPServer(registry, healthy{})
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range []string{"/healthz", "/metrics", "/readyz", "/", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/blocks"} {
			want := http.StatusNotFound
			if slices.Contains([]string{"/healthz", "/metrics", "/readyz"}, path) {
				want = http.StatusMethodNotAllowed
				if method == http.MethodGet {
					want = http.StatusOK
				}
			}
			rec := httptest.NewRecorder()
			server.Handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
			if rec.Code != want {
				t.Errorf("%s %s: %d, want %d", method, path, rec.Code, want)
			}
		}
	}
}
