package pgstore

import "time"

// Statement returns a statement and arguments to explain it with.
func (b *Blocks) Statement(name string) (sql string, args []any) {
	types, values := []string{"user", "user"}, []string{"10", "20"}
	now := time.Now()
	switch name {
	case "lookup":
		return b.sql.lookup, []any{now, types, values}
	case "state":
		return b.sql.state, []any{types, values}
	case "lift":
		return b.sql.lift, []any{types, values}
	case "revoke":
		return b.sql.revoke, []any{"user", "10", now, "", ""}
	case "tombstone":
		return b.sql.tombstone, []any{"user", "10", now.AddDate(0, -1, 0), "", "", 429}
	case "changed":
		return b.sql.changed, []any{now.Add(-time.Minute), 1000}
	}
	return "", nil
}
