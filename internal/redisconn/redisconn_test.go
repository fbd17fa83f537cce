package redisconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

var errRefused = errors.New("connection refused, for the test")

// options are those of a client of addr with a small pool that repeats nothing.
func options(addr string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: []string{addr}, Dialer: dial, MaxRetries: -1, DialerRetries: 1, PoolSize: 3, MinIdleConns: 1, Protocol: 2,
		ContextTimeoutEnabled: true, DisableIdentity: true,
	}
}

// TestRecoveredServerIsDialledAfterManyFailures: once as many dials have failed as the pool has
// connections, go-redis by itself returns the last error for up to a second.
func TestRecoveredServerIsDialledAfterManyFailures(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	for name, user := range map[string]string{"no login": "", "a login": "u"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var down atomic.Bool
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				if down.Load() {
					return nil, errRefused
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			o := options(env.Addr, dial)
			if user != "" {
				if err := env.Client.Do(t.Context(), "ACL", "SETUSER", user, "on", ">p", "~*", "+@all").Err(); err != nil {
					t.Fatal(err)
				}
				o.Username, o.Password = user, "p"
			}
			down.Store(true)
			client := New(o)
			t.Cleanup(func() { _ = client.Close() })
			for round := range 3 {
				for range 20 {
					if err := client.Ping(t.Context()).Err(); !errors.Is(err, errRefused) {
						t.Fatalf("round %d: while it is down: %v", round, err)
					}
				}
				down.Store(false)
				<-time.After(2 * redialAfter)
				for range 3 {
					if err := client.Ping(t.Context()).Err(); err != nil {
						t.Fatalf("round %d: it answers again: %v", round, err)
					}
				}
				down.Store(true)
				if err := env.Client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
					t.Fatal(err)
				}
				testenv.Eventually(t, 10*time.Second, func() error {
					if err := client.Ping(t.Context()).Err(); !errors.Is(err, errRefused) {
						return fmt.Errorf("its connections are still there: %w", err)
					}
					return nil
				})
			}
		})
	}
}

// TestFailedDialIsReusedBriefly: a server that is down is not dialled by every request.
func TestFailedDialIsReusedBriefly(t *testing.T) {
	t.Parallel()
	now, dials := time.Now(), 0
	d := newDialer()
	d.now = func() time.Time { return now }
	dial := d.DialHook(func(context.Context, string, string) (net.Conn, error) {
		dials++
		return nil, errRefused
	})
	for _, after := range []time.Duration{0, redialAfter / 2, redialAfter - 1, redialAfter, redialAfter + 1, 3 * redialAfter} {
		begin := now
		now = begin.Add(after)
		conn, err := dial(t.Context(), "tcp", "a:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); !errors.Is(err, errRefused) {
			t.Errorf("writing: %v", err)
		}
		if _, err := conn.Read(nil); !errors.Is(err, errRefused) {
			t.Errorf("reading: %v", err)
		}
		now = begin
	}
	if dials != 3 { // the first, and each when redialAfter had passed since the last
		t.Errorf("%d dials", dials)
	}
	if _, err := dial(t.Context(), "tcp", "b:1"); err != nil || dials != 4 {
		t.Errorf("another server: %d dials, %v", dials, err)
	}
}

// TestClientFollowsNameToAnotherServer: the old one lives on, and so do its connections.
func TestClientFollowsNameToAnotherServer(t *testing.T) {
	t.Parallel()
	a, b := testenv.PrivateRedis(t), testenv.PrivateRedis(t)
	for server, value := range map[*testenv.PrivateRedisEnv]string{a: "a", b: "b"} {
		if err := server.Client.Set(t.Context(), "who", value, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	n := testenv.NewName(t, a.Addr)
	client := New(options(n.Addr, nil))
	t.Cleanup(func() { _ = client.Close() })
	if got := client.Get(t.Context(), "who").Val(); got != "a" {
		t.Fatalf("at first %q", got)
	}
	n.LeadTo(b.Addr)
	testenv.Eventually(t, 3*Lifetime, func() error {
		if got := client.Get(t.Context(), "who").Val(); got != "b" {
			return fmt.Errorf("still %q", got)
		}
		return nil
	})
}

// TestConnectionLifetimeOfURLIsKept: a lifetime set in the URL is kept.
func TestConnectionLifetimeOfURLIsKept(t *testing.T) {
	t.Parallel()
	for given, want := range map[time.Duration]time.Duration{0: Lifetime, time.Hour: time.Hour, -1: -1} {
		o := options("127.0.0.1:1", nil)
		o.ConnMaxLifetime = given
		client := New(o).(*redis.Client)
		_ = client.Close()
		if got := client.Options().ConnMaxLifetime; got != want {
			t.Errorf("%v is %v", given, got)
		}
	}
}

// TestClusterClientFindsElectedReplica: no server redirects it, since the one that had the slots is
// gone.
func TestClusterClientFindsElectedReplica(t *testing.T) {
	t.Parallel()
	env := testenv.Cluster(t)
	o := options("", nil)
	o.Addrs, o.IsClusterMode = strings.Split(strings.TrimPrefix(env.URL, "redis+cluster://"), ","), true
	client := New(o)
	t.Cleanup(func() { _ = client.Close() })
	set := func(key string) error { return client.Set(t.Context(), key, "v", time.Hour).Err() }
	pipelined := func(key string) error {
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error { p.Get(t.Context(), key); return nil })
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return err
	}
	if err := set("key"); err != nil {
		t.Fatal(err)
	}
	i := env.PrimaryOf("key")
	env.Primaries[i].Kill()
	for range 20 {
		_ = set("key") // fails, unless the election was faster
	}
	elected := env.Elected(i)
	// Twenty seconds is less than the minute after which the client would look by itself.
	testenv.Eventually(t, 20*time.Second, func() error { return errors.Join(set("key"), pipelined("key")) })
	t.Logf("commands succeed %s after the election", time.Since(elected).Round(time.Millisecond))
}

// TestErrorsThatReloadSlots: what a server answers about its data is no reason to look where slots
// are.
func TestErrorsThatReloadSlots(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"MOVED 1 h:1": true, "READONLY You can't write": true, "CLUSTERDOWN The cluster is down": true, "LOADING Redis is loading": true,
		"WRONGTYPE Operation": false, "NOPERM": false, "OOM command": false, "NOGROUP no": false,
	} {
		if got := moves(fmt.Errorf("x: %w", reply(text))); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for err, want := range map[error]bool{nil: false, redis.Nil: false, context.Canceled: false, context.DeadlineExceeded: true, io.EOF: true} {
		if got := moves(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}
