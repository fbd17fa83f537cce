package storetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardstream/wardstream/schema"
)

// Migrate makes our tables in the pool's schema.
func Migrate(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	db := stdlib.OpenDBFromPool(pool)
	if _, err := schema.Migrate(context.Background(), db); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// PythonTable is the Python library's table as its migrations make it: its
// short columns have no defaults.
const PythonTable = `CREATE TABLE "sec_audit_enforcement_permanentblock" (
  "id" bigserial NOT NULL PRIMARY KEY,
  "scope_type" varchar(32) NOT NULL,
  "scope_value" varchar(255) NOT NULL,
  "reason" varchar(255) NOT NULL,
  "rule_name" varchar(128) NOT NULL,
  "status_code" smallint NOT NULL CHECK ("status_code" >= 0),
  "message" varchar(255) NOT NULL,
  "metadata" jsonb NOT NULL,
  "created_at" timestamp with time zone NOT NULL,
  "expires_at" timestamp with time zone NULL,
  "revoked_at" timestamp with time zone NULL,
  "revoked_by" varchar(128) NOT NULL,
  "revoked_reason" varchar(255) NOT NULL
);
CREATE UNIQUE INDEX "uniq_active_block_per_scope" ON "sec_audit_enforcement_permanentblock" ("scope_type", "scope_value") WHERE "revoked_at" IS NULL;
CREATE INDEX "sec_audit_enforcement_permanentblock_created_at_85c48698" ON "sec_audit_enforcement_permanentblock" ("created_at");
CREATE INDEX "sec_audit_enforcement_permanentblock_revoked_at_a77319ed" ON "sec_audit_enforcement_permanentblock" ("revoked_at");
CREATE INDEX "secenf_active_lookup" ON "sec_audit_enforcement_permanentblock" ("scope_type", "scope_value", "revoked_at");
CREATE INDEX "secenf_admin_listing" ON "sec_audit_enforcement_permanentblock" ("revoked_at", "created_at");`

// PythonTableName is its name.
const PythonTableName = "sec_audit_enforcement_permanentblock"
