package resp

import (
	"bytes"
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// TestFetchAgreesWithGoRedis reads the same entries from a real Redis by every way.
func TestFetchAgreesWithGoRedis(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	ctx, stream := context.Background(), env.Prefix+":events"
	options, err := redis.ParseURL(env.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.Protocol = 2
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	pipe := client.Pipeline()
	for range 50 {
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []string{"x", strings.Repeat("\r\n*1\r\n", 100), "", "\x00", "x", "again"}})
	}
	pipe.XGroupCreate(ctx, stream, "g", "0")
	pipe.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{stream, ">"}, Count: 50, Block: -1})
	pipe.XTrimMaxLen(ctx, stream, 30) // 20 have no fields now
	if _, err = pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	args := []any{"XREADGROUP", "GROUP", "g", "c", "COUNT", 100, "STREAMS", stream, "0"}
	raw, err := Fetch(ctx, client, stream, 0, args...)
	if err != nil {
		t.Fatal(err)
	}
	if bounded, err := Fetch(ctx, client, stream, len(raw), args...); err != nil || !bytes.Equal(bounded, raw) {
		t.Errorf("%q by one way, %q by the other: %v", raw, bounded, err)
	}
	if _, err := Fetch(ctx, client, stream, len(raw)-1, args...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a reply of a byte too many: %v", err)
	}
	if _, err := Fetch(ctx, client, stream, 0, "GET", stream); !IsError(err, "WRONGTYPE") {
		t.Errorf("an error reply: %v", err)
	}
	tree, err := client.Do(ctx, args...).Result()
	if err != nil {
		t.Fatal(err)
	}
	fast, err := ReadGroup(raw)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := ReadGroup(encoded(t, tree))
	if err != nil || len(fast) != 50 || fast[49].Fields[5] != "again" || fast[0].Fields != nil || !reflect.DeepEqual(fast, slow) {
		t.Errorf("%+v and %+v, %v", fast, slow, err)
	}
}

func TestEncodeRefusesTypesUnknownToRESP2(t *testing.T) {
	t.Parallel()
	if err := encode(&bytes.Buffer{}, []any{1.5}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a float is encoded: %v", err)
	}
}
