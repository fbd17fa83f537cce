package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// page asks for a page as nginx does for a client, and returns the status.
func (g *ingress) page(ip, uri string) int {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "http://"+g.addr+"/nginx", http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", ip)
	r.Header.Set("X-Original-Uri", uri)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// deniesPage waits until the client may not see the page any more. Asking adds requests of its own.
func (g *ingress) deniesPage(ip, uri string) {
	g.t.Helper()
	testenv.Eventually(g.t, patience, func() error {
		if status := g.page(ip, uri); status != http.StatusForbidden {
			return fmt.Errorf("%s gets %s: %d", ip, uri, status)
		}
		return nil
	})
}

// publishing are the flags of an ingress-check that publishes for the installation's detectors.
func (in *installation) publishing() []string {
	return []string{
		"--redis-url", in.redis.URL, "--key-prefix", in.redis.Prefix, "--publish", "--publish-stream", in.stream(),
		"--events-stream", in.enforcement(),
	}
}

// TestPublishedRequestsLeadToBlock: only ingress-check publishes requests, and repeated_route
// blocks clients that come too often. The denials are in the trail, with how many there were.
func TestPublishedRequestsLeadToBlock(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules:\n- {name: repeated_route, threshold: 10, paths: [/search]}\n")
	in.start()
	g := guard(t, in.publishing()...)
	for range 9 {
		if status := g.page(attacker, "/search?q=1"); status != http.StatusOK {
			t.Fatalf("before the tenth request: %d", status)
		}
		if status := g.page(visitor, "/elsewhere"); status != http.StatusOK {
			t.Fatalf("a visitor: %d", status)
		}
	}
	g.deniesPage(attacker, "/search")
	if status := g.page(visitor, "/search"); status != http.StatusOK {
		t.Errorf("a visitor got %d", status)
	}
	testenv.Eventually(t, patience, func() error {
		for _, attributes := range in.enforcementEvents() {
			if attributes["event_type"] == "audit.enforcement.blocked" && attributes["scope.value"] == attacker &&
				attributes["security_rule.name"] == "repeated_route" && attributes["enforcement.count"] != nil {
				return nil
			}
		}
		return fmt.Errorf("no denial is published: %v", in.enforcementEvents())
	})
}

// TestPublishedRequestsThrottleLoginPage: an application that publishes nothing but failed logins
// is protected at its login page by login_throttle, since ingress-check publishes the requests.
// brute_force_login itself only observes here.
func TestPublishedRequestsThrottleLoginPage(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, `
rules: [{name: brute_force_login}, {name: login_throttle}]
actions: {brute_force_login: {action: observe}, login_throttle: {action: temp_block, scopes: [ip], ttl: 5m}}
`)
	in.start()
	g := guard(t, in.publishing()...)
	for range 5 {
		in.publish("event_type", "auth.login.failed", "source.address", attacker, "user.name", "eve")
	}
	in.settled("detectors")
	if status := g.page(attacker, "/products"); status != http.StatusOK {
		t.Fatalf("five failures alone deny: %d", status)
	}
	g.deniesPage(attacker, "/login")
	if status := g.page(visitor, "/login"); status != http.StatusOK {
		t.Errorf("a visitor got %d", status)
	}
}
