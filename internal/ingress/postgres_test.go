package ingress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/schema"
)

// TestPostgresURLThatCannotWorkIsRefused: parameters of other drivers, and what the server itself
// refuses.
func TestPostgresURLThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	env := testenv.Postgres(t)
	for query, name := range map[string]string{
		"pgbouncer=true": "pgbouncer", "schema=public": "schema", "currentSchema=x": "currentSchema", "nonsense=1": "nonsense",
		"statement_timeout=soon": "statement_timeout",
	} {
		o := DefaultOptions()
		o.Addr, o.PostgresURL = "127.0.0.1:0", env.URL+"&"+query
		s, err := New(t.Context(), o, discard())
		if err == nil {
			s.Close()
			t.Errorf("%s: accepted", query)
			continue
		}
		if !strings.Contains(err.Error(), "--postgres-url") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestNotReadyUntilPostgresHasAnswered: it may be the URL that keeps it from doing so, as a TLS
// that the server hasn't. Once it has worked an outage is one.
func TestNotReadyUntilPostgresHasAnswered(t *testing.T) {
	t.Parallel()
	env := testenv.PrivatePostgres(t)
	i := start(t, func(o *Options) { o.PostgresURL = env.URL + "&sslmode=require" })
	if res := i.ask("/readyz"); res.status != 503 || !strings.Contains(res.body, "Postgres has never answered") {
		t.Errorf("without TLS: %d %q", res.status, res.body)
	}
	if res := i.ask("/healthz"); res.status != 200 {
		t.Errorf("health: %d", res.status)
	}

	db := stdlib.OpenDBFromPool(env.Pool)
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	env.Stop()
	i = start(t, func(o *Options) { o.PostgresURL = env.URL })
	if res := i.ask("/readyz"); res.status != 503 {
		t.Errorf("before it is there: %d", res.status)
	}
	env.Start()
	ready := func() error {
		if res := i.ask("/readyz"); res.status != 200 {
			return fmt.Errorf("%d %q", res.status, res.body)
		}
		return nil
	}
	testenv.Eventually(t, 30*time.Second, ready)
	env.Stop()
	if err := ready(); err != nil {
		t.Errorf("an outage later on: %v", err)
	}
}
