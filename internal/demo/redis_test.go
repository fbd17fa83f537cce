package demo

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// embedded starts a server and a client of each protocol version.
func embedded(t *testing.T) (c2, c3 *redis.Client) {
	t.Helper()
	s, err := startRedis("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	clients := make([]*redis.Client, 2)
	for i := range clients {
		clients[i] = redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2 + i, MaxRetries: -1})
		t.Cleanup(func() { _ = clients[i].Close() })
	}
	return clients[0], clients[1]
}

// TestKeysExpire: what has a TTL ends by itself.
func TestKeysExpire(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t)
	at := time.Now().Add(150 * time.Millisecond)
	for _, args := range [][]any{
		{"SET", "px", "1", "PX", 150}, {"SET", "pxat", "1", "PXAT", at.UnixMilli()}, {"SET", "stays", "1", "EX", 3600},
	} {
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(args, err)
		}
	}
	testenv.Eventually(t, 10*time.Second, func() error {
		left, err := c.Exists(t.Context(), "px", "pxat").Result()
		if err != nil || left > 0 {
			return fmt.Errorf("%d keys left: %w", left, errNotYet)
		}
		return nil
	})
	if ttl, err := c.PTTL(t.Context(), "stays").Result(); err != nil || ttl <= 50*time.Minute || ttl >= time.Hour {
		t.Errorf("the other key has a TTL of %s, %v", ttl, err)
	}
}

// TestHandshakeCommandsAreAnswered: redis-cli, the client libraries and our own doctor.
func TestHandshakeCommandsAreAnswered(t *testing.T) {
	t.Parallel()
	c2, c3 := embedded(t)
	for _, c := range []*redis.Client{c2, c3} {
		for _, args := range [][]any{{"INFO"}, {"INFO", "server"}, {"INFO", "everything"}} {
			info, err := c.Do(t.Context(), args...).Text()
			if err != nil || !strings.Contains(info, "redis_version:7") || !strings.Contains(info, "loading:0") {
				t.Errorf("%v: %q, %v", args, info, err)
			}
		}
		if _, err := c.Do(t.Context(), "INFO", "clients").Text(); err != nil {
			t.Error(err)
		}
		if err := c.Do(t.Context(), "CLIENT", "SETINFO", "LIB-NAME", "x").Err(); err != nil {
			t.Error(err)
		}
		if err := c.Do(t.Context(), "COMMAND", "DOCS").Err(); err == nil {
			t.Error("COMMAND DOCS has an answer, on which redis-cli ends itself")
		}
		if got, err := c.ConfigGet(t.Context(), "maxmemory-policy").Result(); err != nil || len(got) != 1 || got["maxmemory-policy"] != "noeviction" {
			t.Errorf("CONFIG GET maxmemory-policy: %v, %v", got, err)
		}
		if got, err := c.ConfigGet(t.Context(), "port").Result(); err != nil || len(got) != 0 {
			t.Errorf("CONFIG GET port: %v, %v", got, err)
		}
		if err := c.ConfigSet(t.Context(), "port", "1").Err(); err == nil {
			t.Error("CONFIG SET changed something")
		}
	}
}

func TestXINFOGroupsIsAnswered(t *testing.T) {
	t.Parallel()
	c2, c3 := embedded(t)
	ctx := t.Context()
	if err := c2.XGroupCreateMkStream(ctx, "s", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := c2.XInfoGroups(ctx, "s").Result(); err != nil || len(got) != 1 || got[0].LastDeliveredID != "0-0" || got[0].Lag != 0 {
		t.Errorf("new group %+v, %v", got, err)
	}
	for range 3 {
		publishTo(t, c2, "s")
	}
	read, err := c2.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"s", ">"}, Count: 1}).Result()
	if err != nil {
		t.Fatal(err)
	}
	last := read[0].Messages[0].ID
	for _, c := range []*redis.Client{c2, c3} {
		got, err := c.XInfoGroups(ctx, "s").Result()
		if err != nil || len(got) != 1 || got[0].Name != "g" || got[0].Lag != 2 || got[0].Pending != 1 || got[0].LastDeliveredID != last {
			t.Errorf("group %+v, %v", got, err)
		}
	}
	inScript, err := c2.Eval(ctx, "return redis.call('XINFO', 'GROUPS', KEYS[1])[1]", []string{"s"}).Slice()
	if at := slices.Index(inScript, any("lag")); err != nil || at < 0 || inScript[at+1] != int64(2) {
		t.Errorf("in a script %v, %v", inScript, err)
	}
	if err := c2.XInfoGroups(ctx, "none").Err(); err == nil {
		t.Error("a stream that isn't there has groups")
	}
}

func publishTo(t *testing.T, c *redis.Client, stream string) {
	t.Helper()
	if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, Values: []string{"a", "b"}}).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestWorkerRunsOnDemoServer: what the worker does beyond reading and acking, on this server. The
// rest of the demo's tests need it, too.
func TestWorkerRunsOnDemoServer(t *testing.T) {
	t.Parallel()
	cfg := quietConfig(t)
	cfg.Stream.ClaimMinIdle = 100 * time.Millisecond
	d := dev(t, DevOptions{Config: cfg})
	c := client(t, d)
	ctx := t.Context()
	stream := cfg.Stream.Names[0]

	// An entry that another consumer took and left is claimed.
	testenv.Eventually(t, 30*time.Second, func() error { return c.XInfoGroups(ctx, stream).Err() })
	groups, err := c.XInfoGroups(ctx, stream).Result()
	if err != nil || len(groups) != 1 {
		t.Fatal(groups, err)
	}
	orphan(t, c, stream, groups[0].Name)
	d.wait(t, typeBlocked, "orphan")

	// One that can't be decoded is a dead letter, and what follows is handled.
	publish(t, c, "no", "type")
	publish(t, c, "event_type", "model.update", "user.id", "9", "changed_fields", "email")
	d.wait(t, typeBlocked, "9")
	testenv.Eventually(t, 30*time.Second, func() error {
		dead, err := c.XRange(ctx, stream+":dead", "-", "+").Result()
		if err != nil || len(dead) != 1 || dead[0].Values["no"] != "type" {
			return fmt.Errorf("dead letters %v: %w", dead, errors.Join(err, errNotYet))
		}
		pending, err := c.XPending(ctx, stream, groups[0].Name).Result()
		if err != nil || pending.Count != 0 {
			return fmt.Errorf("pending %+v: %w", pending, errors.Join(err, errNotYet))
		}
		return nil
	})

	// After a flush everything goes on.
	if err := c.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, c, "event_type", "model.update", "user.id", "10", "changed_fields", "email")
	d.wait(t, typeBlocked, "10")
}

// orphan has an event delivered to a consumer that never handles it.
func orphan(t *testing.T, c *redis.Client, stream, group string) {
	t.Helper()
	n, err := c.Eval(t.Context(), `
		redis.call('XADD', KEYS[1], '*', 'event_type', 'model.update', 'user.id', 'orphan', 'changed_fields', 'email')
		return #redis.call('XREADGROUP', 'GROUP', ARGV[1], 'another-consumer', 'STREAMS', KEYS[1], '>')`, []string{stream}, group).Int()
	if err != nil || n != 1 {
		t.Fatalf("%d streams delivered, %v", n, err)
	}
}
