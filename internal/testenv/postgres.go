package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/ory/dockertest/v3"
)

// A PostgresEnv is one test's share of a PostgreSQL server.
type PostgresEnv struct {
	URL  string // its search_path is a schema of the test's own, dropped at the test's end
	Pool *pgxpool.Pool
}

// Postgres returns a share of the PostgreSQL server that the test binary's tests
// share: an empty schema. That server doesn't wait for its disk.
func Postgres(t testing.TB) *PostgresEnv {
	t.Helper()
	s, err := sharedPostgres()
	if err != nil {
		t.Fatal(err)
	}
	schema := "ws_test_" + random()
	if err := execute(s.url, "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(s.url, "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			t.Error(err)
		}
	})
	address := withSchema(s.url, schema)
	return &PostgresEnv{URL: address, Pool: postgresPool(t, address)}
}

// withSchema adds the search_path in the way that both pgx and libpq read.
func withSchema(address, schema string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // our own URLs parse, and the variable's was parsed at start
	}
	q := u.Query()
	q.Set("options", "-csearch_path="+schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func postgresPool(t testing.TB, address string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), address)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// execute runs one statement on a connection of its own.
func execute(address, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("execute %q: %w", sql, err)
	}
	return nil
}

// startSharedPostgres finds or starts the shared server.
func startSharedPostgres() (server, error) {
	if address := os.Getenv(postgresVariable); address != "" {
		u, err := url.Parse(address)
		if err != nil || u.Scheme == "" {
			return server{}, fmt.Errorf("read %s: it must be a postgres:// URL", postgresVariable)
		}
		return server{url: address}, nil
	}
	run := &dockertest.RunOptions{
		Repository: postgresImage, Tag: postgresTag, Env: []string{"POSTGRES_HOST_AUTH_METHOD=trust"},
		Cmd: []string{"postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "max_connections=300"},
	}
	var address string
	_, stop, dockerErr := container(run, "5432/tcp", func(addr string) error {
		address = "postgres://postgres@" + addr + "/postgres?sslmode=disable"
		return pingPostgres(address, "")
	})
	if dockerErr == nil {
		return running.keep(server{url: address, stop: stop}), nil
	}
	local, err := startPostgres("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	if err != nil {
		return server{}, fmt.Errorf("tests need PostgreSQL: install it (initdb and postgres) or start Docker, or set %s (%w; %w)",
			postgresVariable, dockerErr, err)
	}
	return running.keep(server{url: local.url(), stop: local.remove}), nil
}

// pingPostgres asks whether the server takes statements and, unless dir is
// empty, keeps its data there.
func pingPostgres(address, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	var data string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil {
		return fmt.Errorf("ask PostgreSQL who it is: %w", err)
	}
	if dir != "" && data != dir {
		return errOtherServer
	}
	return nil
}

// A PrivatePostgresEnv is a PostgreSQL server of one test's own, with the
// durability of a default installation. It may be stopped and started again; its
// port and its data stay.
type PrivatePostgresEnv struct {
	PostgresEnv

	t      testing.TB
	server *localPostgres
}

// PrivatePostgres starts a PostgreSQL server for t alone, always from the local
// binaries.
func PrivatePostgres(t testing.TB) *PrivatePostgresEnv {
	t.Helper()
	return privatePostgres(t, nil)
}

func privatePostgres(t testing.TB, d *disk, args ...string) *PrivatePostgresEnv {
	t.Helper()
	s, err := startPostgresOn(d, args...)
	if err != nil {
		t.Fatalf("test needs a PostgreSQL server of its own; install PostgreSQL: %v", err)
	}
	t.Cleanup(s.remove)
	schema := "ws_test_" + random()
	if err := execute(s.url(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	address := withSchema(s.url(), schema)
	return &PrivatePostgresEnv{PostgresEnv: PostgresEnv{URL: address, Pool: postgresPool(t, address)}, t: t, server: s}
}

// Stop ends the server at once, as a crash does: connections break, and what was
// committed is recovered at the next start.
func (e *PrivatePostgresEnv) Stop() { e.server.stop() }

// Start starts the server again and returns once it has recovered.
func (e *PrivatePostgresEnv) Start() {
	e.t.Helper()
	e.server.stop()
	if err := e.server.start(); err != nil {
		e.t.Fatal(err)
	}
}

var errNoAccount = errors.New("PostgreSQL refuses root and there is neither a user postgres nor nobody")
