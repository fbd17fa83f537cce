package doctor

import (
	"context"
	"fmt"
	"strings"
)

const (
	postgresCheck  = "postgres"
	privilegeCheck = "postgres access"
)

// postgres looks at whether it is there, takes writes and has what migrations make.
func (x *examination) postgres(ctx context.Context) bool {
	if err := x.stores.CheckPostgres(ctx); err != nil {
		x.add(postgresCheck, Fail, "permanent blocks need it", "%v", err)
		return false
	}
	var version string
	var replica bool
	// No table, no index.
	err := x.stores.Pool.QueryRow(ctx, `SELECT current_setting('server_version'), pg_is_in_recovery()`).Scan(&version, &replica)
	switch {
	case err != nil:
		x.add(postgresCheck, Fail, "permanent blocks need it", "ask for its version: %v", err)
		return false
	case replica:
		x.add(postgresCheck, Fail, "point postgres.url at the primary", "%s is a replica and takes no writes", x.cfg.Postgres.URL)
		return false
	}
	version, _, _ = strings.Cut(version, " ") // from the distribution
	x.ok(postgresCheck, "%s answers: version %s, table %s is up to date", x.cfg.Postgres.URL, version, x.cfg.Postgres.Table)
	return true
}

// privileges looks at what the user may do with the table.
func (x *examination) privileges(ctx context.Context) bool {
	wanted := []string{"SELECT", "INSERT", "UPDATE"}
	if x.cfg.Blocks.TempBlocksInPostgres {
		wanted = append(wanted, "DELETE") // of those that have ended
	}
	var user string
	var denied []string
	// Catalogue look-ups by name.
	err := x.stores.Pool.QueryRow(ctx, `SELECT current_user::text, array(
	SELECT p FROM unnest($2::text[]) AS p WHERE NOT has_table_privilege(to_regclass($1), p))`, x.cfg.Postgres.Table, wanted).Scan(&user, &denied)
	switch {
	case err != nil:
		x.add(privilegeCheck, Warn, "run detector check again", "what the user may do can't be asked: %v", err)
	case len(denied) > 0:
		advice := fmt.Sprintf(`as the owner: GRANT %s ON %s TO %q`, strings.Join(denied, ", "), x.cfg.Postgres.Table, user)
		x.add(privilegeCheck, Fail, advice, "the user %s may not %s on %s", user, strings.Join(denied, ", "), x.cfg.Postgres.Table)
	default:
		x.ok(privilegeCheck, "the user %s may do all that the worker does", user)
	}
	return true
}
