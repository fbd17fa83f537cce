package detector

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/window"
)

// busyPeer is a window store that has another process do something as soon as failures have been
// counted.
type busyPeer struct {
	window.Store

	work func()
}

func (s busyPeer) Apply(ctx context.Context, ops []window.Op) ([]window.Count, error) {
	counts, err := s.Store.Apply(ctx, ops)
	if slices.ContainsFunc(ops, func(op window.Op) bool { return op.Kind == window.Add }) {
		s.work()
	}
	return counts, err
}

// TestPipelineRecountsAfterPeerClears: four people of an office mistyped, logged in, and four
// others mistype. A peer holds the four successes while this worker counts the last failures:
// eight, until the peer has caught up, then four. An attacker at another address is blocked all the
// same.
func TestPipelineRecountsAfterPeerClears(t *testing.T) {
	t.Parallel()
	const office, attacker = "198.51.100.1", "203.0.113.9"
	b := newBench(t, bruteForce)
	ctx, client, stream := t.Context(), b.redis.Client, b.redis.Prefix+":events"
	login := func(outcome, address, user string) []string {
		return []string{"event_type", "auth.login." + outcome, "source.address", address, "user.name", user}
	}
	publish := func(outcome, address string, users ...int) {
		for _, user := range users {
			if err := client.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: login(outcome, address, fmt.Sprint("user", user))}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for user := range 4 {
		b.must("D", b.entry(login("failed", office, fmt.Sprint("user", user))...))
	}
	publish("success", "192.0.2.1", 99) // the peer never finishes this one
	publish("success", office, 0, 1, 2, 3)
	if err := client.XGroupCreate(ctx, stream, "detectors", "0").Err(); err != nil {
		t.Fatal(err)
	}
	read, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "detectors", Consumer: "peer-0", Streams: []string{stream, ">"}, Block: -1}).Result()
	if err != nil {
		t.Fatal(err)
	}
	var held []consumer.Entry
	for _, m := range read[0].Messages[1:] {
		held = append(held, consumer.Entry{Stream: stream, ID: m.ID, Fields: login("success", office, fmt.Sprint(m.Values["user.name"]))})
	}
	publish("failed", office, 4, 5, 6, 7)
	publish("failed", attacker, 10, 11, 12, 13, 14)

	peer := *b.Pipeline
	b.windows = busyPeer{b.windows, func() {
		if _, err := peer.Handle(ctx, nil, held); err != nil {
			t.Error(err)
		}
	}}
	clients, err := consumer.Connect(b.redis.URL, consumer.ConnectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = clients.Close() })
	worker, err := consumer.New(consumer.Options{
		Clients: clients, Streams: []string{stream}, Group: "detectors", Consumer: "w", Prefix: b.redis.Prefix, Logger: slog.New(slog.DiscardHandler),
	}, b.Pipeline)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- worker.Run(running) }()
	testenv.Eventually(t, time.Minute, func() error {
		if _, ok := b.blocked("ip", attacker); !ok {
			return fmt.Errorf("%s isn't blocked", attacker)
		}
		return nil
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, ok := b.blocked("ip", office); ok {
		t.Error("the office is blocked for failures that were taken back")
	}
}
