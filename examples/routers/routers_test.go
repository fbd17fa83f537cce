package routers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/wardstream/wardstream/examples/routers"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/httpcheck"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
	"github.com/wardstream/wardstream/pkg/publisher"
	"github.com/wardstream/wardstream/pkg/publisher/httppublish"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const attacker, visitor = "203.0.113.9", "198.51.100.7"

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }

// TestRouters: with each router the blocked client is denied on every path, the others get their
// pages, and the events name the route.
func TestRouters(t *testing.T) {
	t.Parallel()
	gorilla := routers.Gorilla(hello)
	for name, tc := range map[string]struct {
		route func(*http.Request) string
		site  func(protect, publish routers.Middleware) http.Handler
	}{
		"chi": {routers.ChiRoute, func(protect, publish routers.Middleware) http.Handler { return routers.Chi(protect, publish, hello) }},
		"gorilla": {routers.GorillaRoute(gorilla), func(protect, publish routers.Middleware) http.Handler {
			return protect(publish(gorilla))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.Redis(t)
			block(t, env)
			c := checker.New(redislookup.New(env.Client, redislookup.WithKeyPrefix(env.Prefix)), checker.WithTimeout(30*time.Second))
			events := publisher.New(env.Client, publisher.WithStreams(env.Prefix+":events"))
			site := tc.site(httpcheck.Middleware(c), httppublish.Middleware(events, httppublish.WithRoute(tc.route)))
			for _, ask := range []struct {
				client, path string
				status       int
			}{
				{attacker, "/users/42", 429},
				{attacker, "/nowhere", 429},
				{visitor, "/users/42", 200},
				{visitor, "/nowhere", 404},
			} {
				w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, ask.path, nil)
				r.RemoteAddr = ask.client + ":1"
				if site.ServeHTTP(w, r); w.Code != ask.status {
					t.Errorf("%s got %d from %s, want %d", ask.client, w.Code, ask.path, ask.status)
				}
			}
			published(t, env, events)
		})
	}
}

// block blocks the attacker as detectors do.
func block(t *testing.T, env *testenv.RedisEnv) {
	t.Helper()
	scope, _ := checker.NewScope(checker.ScopeIP, attacker)
	raw, err := wire.EncodeBlock(checker.Block{Scope: scope, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute)})
	if err == nil {
		err = env.Client.Set(t.Context(), rediskey.Keys{Prefix: env.Prefix}.Block(scope), raw, time.Minute).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// published holds that the visitor's responses were published, and no others.
func published(t *testing.T, env *testenv.RedisEnv, p *publisher.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	entries, err := env.Client.XRange(ctx, env.Prefix+":events", "-", "+").Result()
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d events, want 2: %v", len(entries), err)
	}
	for i, want := range []struct{ typ, path, route string }{
		{httppublish.TypeSuccess, "/users/42", "/users/{id}"}, {httppublish.TypeClientError, "/nowhere", ""},
	} {
		e, err := wire.NewDecoder(wire.DecoderOptions{}).Decode("s", entries[i].ID, []string{"event", entries[i].Values["event"].(string)})
		if err != nil || e.Type != want.typ || e.Text("url.path") != want.path || e.Text("http.route") != want.route || e.Scope("ip") != visitor {
			t.Errorf("event %+v, %v; want %+v", e, err, want)
		}
	}
}
