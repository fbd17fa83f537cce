package config

import (
	"regexp"

	"github.com/wardstream/wardstream/internal/storeurl"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

// A URL says where a store is, and may hold a password: whatever prints it gets
// the form of Redacted. string(u) is the URL itself.
type URL = storeurl.URL

const masked = storeurl.Masked

// checkPostgres refuses what the driver wouldn't take.
func (v *validator) checkPostgres() {
	switch raw := v.c.Postgres.URL; {
	case raw != "":
		if err := storeurl.CheckPostgres(raw); err != nil {
			v.Refuse("postgres.url", "%v", err)
		}
	case v.c.Blocks.TempBlocksInPostgres:
		v.Refuse("blocks.temp_blocks_in_postgres", "needs postgres.url; set it or leave this out")
	}
	if !tableName.MatchString(v.c.Postgres.Table) {
		v.Refuse("postgres.table", "%s is not a table name; write table or schema.table, in letters, digits and _", strictconfig.Quote(v.c.Postgres.Table))
	}
}

var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}$`)
