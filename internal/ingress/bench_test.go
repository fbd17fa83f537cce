package ingress

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

// asked is a handler without a store, and the request of a proxy.
func asked(t testing.TB) (*forwardAuth, *http.Request) {
	t.Helper()
	proxies, err := checker.ParseTrustedProxies([]string{"127.0.0.0/8", "10.0.0.0/8"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{UserHeader: "X-User"}
	f := &forwardAuth{
		gate:      &gate{metrics: newMetrics(), now: time.Now, log: discard(), distrust: &limiter{}, lone: &lonePeer{}},
		clients:   clients{proxies: proxies, identities: o.identities()},
		endpoints: endpoints(),
	}
	r := httptest.NewRequest(http.MethodGet, "/nginx", nil)
	r.RemoteAddr = "127.0.0.1:4711"
	r.Header = http.Header{"X-Forwarded-For": {"6.6.6.6, 198.51.100.7, 10.0.0.2"}, "X-Original-Uri": {"/shop/cart?x=1"}, "X-User": {"42"}}
	return f, r
}

// TestClientAddressAllocatesNothing: that is all that a request costs here besides the look-up.
func TestClientAddressAllocatesNothing(t *testing.T) {
	f, r := asked(t)
	got := testing.AllocsPerRun(100, func() {
		s, err := f.subject(r, f.endpoints["/nginx"])
		if err != nil || s.IP.String() == "" || s.User != "42" || s.Path != "/shop/cart" {
			t.Fatalf("subject %+v, %v", s, err)
		}
		f.gate.metrics.decided(checker.Decision{}, time.Millisecond)
	})
	if got > 1 { // the text of the address above
		t.Errorf("%.0f allocations", got)
	}
}

func BenchmarkSubject(b *testing.B) {
	f, r := asked(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.subject(r, f.endpoints["/nginx"]); err != nil {
			b.Fatal(err)
		}
	}
}
