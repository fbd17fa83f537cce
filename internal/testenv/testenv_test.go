package testenv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

const orphanVariable = "WARDSTREAM_TESTENV_ORPHAN"

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestRedisSharesKeepApart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a, b := testenv.Redis(t), testenv.Redis(t)
	if a.URL != b.URL {
		t.Fatalf("two servers: %s and %s", a.URL, b.URL)
	}
	if a.Prefix == b.Prefix {
		t.Fatalf("both have the prefix %s", a.Prefix)
	}
	var prefix string
	t.Run("share", func(t *testing.T) {
		env := testenv.Redis(t)
		prefix = env.Prefix
		if err := env.Client.Set(ctx, prefix+":k", 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	})
	if n := a.Client.Exists(ctx, prefix+":k").Val(); n != 0 {
		t.Error("the ended test's key is still there")
	}
}

func TestPostgresSchemasKeepApart(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a, b := testenv.Postgres(t), testenv.Postgres(t)
	for _, env := range []*testenv.PostgresEnv{a, b} {
		if _, err := env.Pool.Exec(ctx, "CREATE TABLE things (n int)"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Pool.Exec(ctx, "INSERT INTO things VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := b.Pool.QueryRow(ctx, "SELECT count(*) FROM things").Scan(&n); err != nil || n != 0 {
		t.Fatalf("rows in the other schema: %d, %v", n, err)
	}
}

func TestPrivateRedisKeepsWhatItPersisted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	env := testenv.PrivateRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	if err := env.Client.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	env.Kill()
	if err := env.Client.Ping(ctx).Err(); err == nil {
		t.Fatal("the killed server answers")
	}
	env.Restart()
	if got := env.Client.Get(ctx, "k").Val(); got != "v" {
		t.Fatalf("after the restart k is %q", got)
	}
}

func TestPrivatePostgresKeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	env := testenv.PrivatePostgres(t)
	if _, err := env.Pool.Exec(ctx, "CREATE TABLE things AS SELECT 1 AS n"); err != nil {
		t.Fatal(err)
	}
	env.Stop()
	if err := env.Pool.Ping(ctx); err == nil {
		t.Fatal("the stopped server answers")
	}
	env.Start()
	var n int
	testenv.Eventually(t, 10*time.Second, func() error { // the pool may hold broken connections
		return env.Pool.QueryRow(ctx, "SELECT n FROM things").Scan(&n)
	})
	if n != 1 {
		t.Fatalf("n is %d", n)
	}
}

// TestServersDieWithTheTestBinary kills a copy of this binary that has started
// servers.
func TestServersDieWithTheTestBinary(t *testing.T) {
	if os.Getenv(orphanVariable) != "" {
		fmt.Printf("urls %s %s\n", testenv.PrivateRedis(t).URL, testenv.PrivatePostgres(t).URL)
		select {} // until killed
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServersDieWithTheTestBinary$")
	cmd.Env = append(os.Environ(), orphanVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var redisURL, postgresURL string
	if _, err := fmt.Fscanf(out, "urls %s %s\n", &redisURL, &postgresURL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, url := range []string{redisURL, postgresURL} {
		testenv.Eventually(t, 20*time.Second, func() error { return refuses(url) })
	}
}

func refuses(url string) error {
	addr := url[strings.LastIndex(url, "127.0.0.1"):]
	addr, _, _ = strings.Cut(addr, "/")
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialTimeout: time.Second, DialerRetries: 1})
	defer c.Close()
	err := c.Ping(context.Background()).Err()
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return fmt.Errorf("%s does not refuse: %w", addr, err)
}

// recorder is a test that notes its failure.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}
func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
}

func TestEventually(t *testing.T) {
	t.Parallel()
	calls := 0
	testenv.Eventually(t, 10*time.Second, func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
	r := &recorder{TB: t}
	testenv.Eventually(r, 20*time.Millisecond, func() error { return errors.New("never") })
	if !strings.Contains(r.failure, "never") {
		t.Errorf("failure is %q", r.failure)
	}
}
