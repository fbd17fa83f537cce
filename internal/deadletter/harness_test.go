package deadletter

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const testGroup = "detectors"

// A fixture is a stream of a test's own.
type fixture struct {
	*Queue

	t      testing.TB
	client *redis.Client
	stream string
	writer Writer
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	env := testenv.Redis(t)
	return newFixtureOn(t, env.Client, env.Prefix+":events")
}

func newFixtureOn(t testing.TB, client *redis.Client, stream string) *fixture {
	t.Helper()
	if err := client.XGroupCreateMkStream(context.Background(), stream, testGroup, "0").Err(); err != nil {
		t.Fatal(err)
	}
	return &fixture{
		t: t, client: client, stream: stream, Queue: NewQueue(client, stream),
		writer: Writer{Client: client, Stream: stream, Group: testGroup, MaxLen: 1000, MaxSize: 1 << 20, Timeout: 10 * time.Second},
	}
}

// add adds n entries and returns their IDs.
func (b *fixture) add(n int, fields ...string) []string {
	b.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		values := append([]string{"n", fmt.Sprint(i)}, fields...)
		id, err := b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: values}).Result()
		if err != nil {
			b.t.Fatal(err)
		}
		ids[i] = id
	}
	return ids
}

// deliver reads what is new, as a consumer does, and returns it as letters.
func (b *fixture) deliver() []Letter {
	b.t.Helper()
	ctx := context.Background()
	before := b.entries("0-0")
	read, err := b.client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: testGroup, Consumer: "w", Streams: []string{b.stream, ">"}, Count: 10_000, Block: -1}).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	var letters []Letter
	for _, message := range read[0].Messages {
		letters = append(letters, Letter{EntryID: message.ID, Reason: "malformed", Deliveries: 1, At: time.Unix(1, 0), Fields: before[message.ID]})
	}
	return letters
}

// entries returns the fields, in their order, of the stream's entries after the one of an ID.
func (b *fixture) entries(after string) map[string][]string {
	b.t.Helper()
	raw := NewQueue(b.client, b.stream)
	raw.dead = b.stream
	letters, err := raw.List(context.Background(), after, 100_000)
	if err != nil {
		b.t.Fatal(err)
	}
	fields := map[string][]string{}
	for _, letter := range letters {
		fields[letter.ID] = letter.Fields
	}
	return fields
}

// die makes dead letters of what is new in the stream and returns them.
func (b *fixture) die() []Letter {
	b.t.Helper()
	outcomes, err := b.writer.Write(context.Background(), b.deliver())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, outcome := range outcomes {
		if outcome != Written {
			b.t.Fatalf("outcomes %v", outcomes)
		}
	}
	return b.all()
}

// all returns all dead letters.
func (b *fixture) all() []Letter {
	b.t.Helper()
	letters, err := b.List(context.Background(), "", 100_000)
	if err != nil {
		b.t.Fatal(err)
	}
	return letters
}
