package main

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wardstream/wardstream/internal/testenv"
)

// roles are the statements of docs/how-to/deploy.md that make a role for each party, and those that
// grant them what they need.
func roles(t *testing.T) (created, granted []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/how-to/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(page), "```sql\nCREATE ROLE wardstream_owner")
	block, _, _ = strings.Cut("CREATE ROLE wardstream_owner"+block, "```")
	if !ok {
		t.Fatal("the page makes no roles")
	}
	block = strings.NewReplacer(`\connect wardstream`, "", "'…'", "'secret'").Replace(block)
	for statement := range strings.SplitSeq(block, ";") {
		statement = strings.TrimSpace(statement)
		switch {
		case strings.HasPrefix(statement, "CREATE"):
			created = append(created, statement)
		case strings.Contains(statement, "GRANT"):
			granted = append(granted, statement)
		}
	}
	return created, granted
}

// TestPostgresRolesSuffice: with its role of docs/how-to/deploy.md each program does all that it
// does; the owner alone may migrate, ingress-check only reads, and each grant is needed.
func TestPostgresRolesSuffice(t *testing.T) {
	t.Parallel()
	pg, env := testenv.PrivatePostgres(t), testenv.Redis(t)
	as := func(role string) string {
		u, err := url.Parse(pg.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User, u.Path = url.UserPassword("wardstream_"+role, "secret"), "/wardstream"
		q := u.Query()
		q.Del("options")
		u.RawQuery = q.Encode()
		return u.String()
	}
	created, granted := roles(t)
	for _, statement := range created {
		sql(t, pg.URL, statement)
	}

	in := install(t, env, nil, "rules:\n- {name: brute_force_login, threshold: 1}\n- {name: sensitive_field_change, fields: [email]}\nblocks: {temp_blocks_in_postgres: true}\n")
	detector := append(in.env[:len(in.env):len(in.env)], "WARDSTREAM_POSTGRES_URL="+as("detector"))
	if r := command(t, detector, "migrate", "--config", in.file); r.code != 2 {
		t.Errorf("the detectors' role migrates: %+v", r)
	}
	command(t, append(in.env, "WARDSTREAM_POSTGRES_URL="+as("owner")), "migrate", "--config", in.file).answers(t, 0)
	for _, statement := range granted {
		sql(t, as("owner"), statement)
	}
	in.env = detector
	in.examine(0).has(t, "ok", "postgres access", "may do all that the worker does", "")
	in.publish("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "42")
	in.publish("event_type", failed, "source.address", attacker)
	w := in.start()
	in.settled("detectors")
	w.reaches("wardstream_reconcile_total", 1, `outcome="rebuilt"`)
	w.stop()
	in.command("block", "user", "7").answers(t, 0)
	in.command("blocks").answers(t, 0).says(t, attacker)
	in.command("unblock", "user", "7").answers(t, 0)
	ingressCheck(t, "check", "--timeout", "60s", "--postgres-url", as("ingress"), "--user", "42").answers(t, 1)
	ingressCheck(t, "check", "--timeout", "60s", "--postgres-url", as("ingress"), "--user", "43").answers(t, 0)

	for _, forbidden := range []struct{ role, statement string }{
		{"ingress", "INSERT INTO permanent_blocks (scope_type, scope_value) VALUES ('user', '1')"},
		{"ingress", "UPDATE permanent_blocks SET revoked_at = now()"},
		{"ingress", "DELETE FROM permanent_blocks"},
		{"ingress", "CREATE TABLE mine (n int)"},
		{"detector", "CREATE TABLE mine (n int)"},
		{"detector", "TRUNCATE permanent_blocks"},
		{"detector", "DROP TABLE permanent_blocks"},
		{"detector", "DELETE FROM wardstream_migrations"},
		{"ingress", "SELECT * FROM wardstream_migrations"},
	} {
		if err := try(t, as(forbidden.role), forbidden.statement); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %s: %v", forbidden.role, forbidden.statement, err)
		}
	}
	for _, less := range []struct{ revoke, found string }{
		{"SELECT", "may not SELECT"}, {"INSERT", "may not INSERT"}, {"UPDATE", "may not UPDATE"}, {"DELETE", "may not DELETE"},
	} {
		sql(t, as("owner"), "REVOKE "+less.revoke+" ON permanent_blocks FROM wardstream_detector")
		if out := in.command("check").stdout; less.revoke != "SELECT" && !strings.Contains(out, less.found) || !strings.Contains(out, "fail") {
			t.Errorf("without %s: %s", less.revoke, out)
		}
		sql(t, as("owner"), "GRANT "+less.revoke+" ON permanent_blocks TO wardstream_detector")
	}
	sql(t, as("owner"), "REVOKE SELECT ON wardstream_migrations FROM wardstream_detector")
	if out := in.command("check").stdout; !strings.Contains(out, "fail  postgres") {
		t.Errorf("without the table of migrations: %s", out)
	}
	sql(t, as("owner"), "REVOKE SELECT ON permanent_blocks FROM wardstream_ingress")
	if r := ingressCheck(t, "check", "--timeout", "60s", "--postgres-url", as("ingress"), "--user", "42"); r.code != 2 {
		t.Errorf("without SELECT: %+v", r)
	}
}

func sql(t *testing.T, address, statement string) {
	t.Helper()
	if err := try(t, address, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func try(t *testing.T, address, statement string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), statement)
	return err
}
