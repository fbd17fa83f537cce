package postgresurl

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestParseRefusesOtherDriversParameters(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"pgbouncer": "pgbouncer=true", "schema": "schema=public", "currentSchema": "sslmode=disable&currentSchema=app", "ssl": "ssl=true",
		"connection_limit": "connection_limit=5", "gssencmode": "gssencmode=disable", "keepalives_idle": "keepalives_idle=30",
		"prepareThreshold": "prepareThreshold=0", "uselibpqcompat": "uselibpqcompat=true&sslmode=require",
	} {
		_, err := Parse("postgres://u:hunter2@h/db?" + query)
		var wrong *ParameterError
		if !errors.As(err, &wrong) || wrong.Name != name || wrong.Advice == "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func TestParseAcceptsPostgresParameters(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		"", "?sslmode=disable", "?options=-csearch_path%3Dapp", "?search_path=app", "?application_name=w&statement_timeout=1000", "?pool_max_conns=4",
		"?default_query_exec_mode=exec", "?target_session_attrs=read-write", "?TimeZone=UTC", "?connect_timeout=3", "?sslmode=verify-full", "\n", " \r\n",
	} {
		if _, err := Parse("postgres://u:p@h/db" + query); err != nil {
			t.Errorf("%q: %v", query, err)
		}
	}
	for _, raw := range []string{"postgres://h:port/db", "postgres://u:hunter2%zz@h/db", "postgres://h/db?sslmode=perhaps"} {
		if _, err := Parse(raw); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// TestRefusedMatchesPermanentErrors asks a real server: it refuses connections, and says over which
// parameter.
func TestRefusedMatchesPermanentErrors(t *testing.T) {
	t.Parallel()
	env := testenv.Postgres(t)
	connect := func(url string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			_ = conn.Close(ctx)
		}
		return err
	}
	for query, want := range map[string]string{
		"pgbouncer=true":          "take the parameter pgbouncer out of --postgres-url",
		"nonsense=1":              "take the parameter nonsense out of --postgres-url",
		"statement_timeout=often": "correct the parameter statement_timeout in --postgres-url",
		"max_connections=5":       "take the parameter max_connections out of --postgres-url",
		"application_name=fine":   "",
		"connect_timeout=5":       "",
	} {
		err := connect(env.URL + "&" + query)
		if got := Refused(err, "--postgres-url"); got != want || (err == nil) != (want == "") {
			t.Errorf("%s: %q, want %q; %v", query, got, want, err)
		}
	}
	if err := connect("postgres://127.0.0.1:1/x?sslmode=disable"); err == nil || Refused(err, "") != "" {
		t.Errorf("a server that is down is refused for good: %v", err)
	}
}
