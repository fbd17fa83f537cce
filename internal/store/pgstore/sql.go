package pgstore

import "strings"

// Keys in the metadata of rows that are the store's own.
const (
	idKey     = "enforcement.id"
	becameKey = "enforcement.became_permanent"
	liftedKey = "enforcement.unblock_lifted"
)

const columns = `b.scope_type, b.scope_value, b.reason, b.rule_name, b.status_code, b.message, b.metadata, b.created_at, nullif(b.expires_at, 'infinity')`

// active is the condition that the partial unique index on (scope_type, scope_value) is for:
// permanent_blocks_active, in the Python library's schema uniq_active_block_per_scope.
const active = `b.revoked_at IS NULL AND (b.expires_at IS NULL OR b.expires_at >= $1)`

// lockSQL takes advisory locks in the order of $1. No index.
const lockSQL = `SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k`

// limitsSQL reads the length of varchar columns of the table $1. Indexes of the catalogue.
const limitsSQL = `SELECT attname::text, atttypmod - 4 FROM pg_attribute
WHERE attrelid = to_regclass($1) AND atttypid = 'varchar'::regtype AND atttypmod > 4 AND NOT attisdropped`

// statements are the statements on one table.
type statements struct{ lookup, list, each, changed, purge, state, upsert, lift, revoke, tombstone string }

func newStatements(table string) statements {
	on := func(sql string) string {
		return strings.NewReplacer("$TABLE", table, "$COLUMNS", columns, "$ACTIVE", active,
			"$ID", idKey, "$LIFTED", liftedKey).Replace(sql)
	}
	return statements{
		// One descent of the active index for each pair ($2, $3); $1 is the time.
		lookup: on(`SELECT $COLUMNS FROM unnest($2::text[], $3::text[]) AS i(scope_type, scope_value)
JOIN $TABLE b ON b.scope_type = i.scope_type AND b.scope_value = i.scope_value WHERE $ACTIVE`),

		// Scans the active index and sorts; $2 is the number of rows, null for all.
		list: on(`SELECT $COLUMNS FROM $TABLE b WHERE $ACTIVE
ORDER BY nullif(b.expires_at, 'infinity') IS NOT NULL, b.scope_type COLLATE "C", b.scope_value COLLATE "C" LIMIT $2`),

		// Scans the table, or the active index where most rows are revoked.
		each: on(`SELECT $COLUMNS FROM $TABLE b WHERE $ACTIVE`),

		// permanent_blocks_listing (in the Python library's schema secenf_admin_listing), a range
		// in it for each half.
		changed: on(`SELECT b.scope_type, b.scope_value FROM $TABLE b WHERE b.revoked_at > $1
UNION SELECT b.scope_type, b.scope_value FROM $TABLE b WHERE b.revoked_at IS NULL AND b.created_at > $1 LIMIT $2`),

		// permanent_blocks_expiry; a scan of the Python library's table, which has no such rows to
		// speak of.
		purge: on(`DELETE FROM $TABLE b WHERE b.revoked_at IS NULL AND b.expires_at < $1 AND b.metadata ? '$ID'`),

		// For each pair ($1, $2) one descent of the active index and one of
		// permanent_blocks_revoked (in the Python library's schema secenf_active_lookup): the row,
		// and the last unblock.
		state: on(`SELECT i.scope_type, i.scope_value, b.reason, b.rule_name, b.status_code, b.message, b.metadata, b.created_at,
	nullif(b.expires_at, 'infinity'), (SELECT max(r.revoked_at) FROM $TABLE r WHERE r.scope_type = i.scope_type AND r.scope_value = i.scope_value
		AND r.revoked_at IS NOT NULL AND NOT r.metadata ? '$LIFTED')
FROM unnest($1::text[], $2::text[]) AS i(scope_type, scope_value)
LEFT JOIN $TABLE b ON b.scope_type = i.scope_type AND b.scope_value = i.scope_value AND b.revoked_at IS NULL`),

		// The active index arbitrates. A permanent block that other software wrote since the state
		// was read stays.
		upsert: on(`INSERT INTO $TABLE AS b (scope_type, scope_value, reason, rule_name, status_code, message, metadata, created_at, expires_at,
	revoked_by, revoked_reason)
SELECT i.scope_type, i.scope_value, i.reason, i.rule_name, i.status_code, i.message, i.metadata::jsonb, i.created_at, i.expires_at, '', ''
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[])
	AS i(scope_type, scope_value, reason, rule_name, status_code, message, metadata, created_at, expires_at)
ON CONFLICT (scope_type, scope_value) WHERE revoked_at IS NULL DO UPDATE SET reason = excluded.reason, rule_name = excluded.rule_name,
	status_code = excluded.status_code, message = excluded.message, metadata = excluded.metadata,
	created_at = excluded.created_at, expires_at = excluded.expires_at
WHERE b.expires_at IS NOT NULL OR excluded.expires_at IS NULL`),

		// permanent_blocks_revoked: takes back the unblocks of the pairs ($1, $2).
		lift: on(`UPDATE $TABLE r SET metadata = r.metadata || '{"$LIFTED": true}'
FROM unnest($1::text[], $2::text[]) AS i(scope_type, scope_value)
WHERE r.scope_type = i.scope_type AND r.scope_value = i.scope_value AND r.revoked_at IS NOT NULL AND NOT r.metadata ? '$LIFTED'`),

		// The active index: ends the block of the scope ($1, $2), also one that has ended by
		// itself.
		revoke: on(`UPDATE $TABLE b SET revoked_at = $3, revoked_by = $4, revoked_reason = $5
WHERE b.scope_type = $1 AND b.scope_value = $2 AND b.revoked_at IS NULL RETURNING $COLUMNS`),

		// permanent_blocks_revoked: a row that was never active remembers an unblock where there
		// was nothing to revoke, unless a later one is remembered.
		tombstone: on(`INSERT INTO $TABLE (scope_type, scope_value, reason, rule_name, status_code, message, metadata, created_at,
	revoked_at, revoked_by, revoked_reason)
SELECT $1::text, $2::text, '', '', $6, '', '{}', $3::timestamptz, $3::timestamptz, $4::text, $5::text
WHERE NOT EXISTS (SELECT FROM $TABLE r WHERE r.scope_type = $1::text AND r.scope_value = $2::text
	AND r.revoked_at >= $3::timestamptz AND NOT r.metadata ? '$LIFTED')`),
	}
}
