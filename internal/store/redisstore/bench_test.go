package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/memstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

const benchBatch = 64

// BenchmarkPut puts batches of 64 temporary blocks: new ones, and repeats.
func BenchmarkPut(b *testing.B) {
	env := testenv.Redis(b)
	blocks := newBlocks(b, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	now := time.Now()
	batch := func(round int) []store.Put {
		puts := make([]store.Put, benchBatch)
		for i := range puts {
			puts[i] = block(user(fmt.Sprintf("%d-%d", round, i)), fmt.Sprintf("%016x", i), false)
			puts[i].Block.ExpiresAt = now.Add(5 * time.Minute)
			puts[i].Block.Metadata = map[string]any{"failure_count": 5, "username": "alice"}
		}
		return puts
	}
	for name, round := range map[string]func(i int) int{"new": func(i int) int { return i }, "repeated": func(int) int { return 0 }} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				mustPut(b, blocks, batch(round(i))...)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/block")
		})
	}
}

// BenchmarkLookup looks three scopes up that aren't blocked, among 10,000
// temporary and 10,000 permanent blocks, beside a bare GET.
func BenchmarkLookup(b *testing.B) {
	env := testenv.Redis(b)
	blocks := newBlocks(b, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	truth := memstore.NewBlocks(time.Now)
	for i := range 10_000 {
		mustPut(b, truth, block(user(fmt.Sprint("p", i)), "a", true))
	}
	if _, err := blocks.Rebuild(b.Context(), truth.Each); err != nil {
		b.Fatal(err)
	}
	for start := 0; start < 10_000; start += 500 {
		puts := make([]store.Put, 500)
		for i := range puts {
			puts[i] = block(user(fmt.Sprint("t", start+i)), "a", false)
		}
		mustPut(b, blocks, puts...)
	}
	client := redis.NewClient(&redis.Options{Addr: env.Client.Options().Addr, MaxRetries: -1, Protocol: 2})
	b.Cleanup(func() { _ = client.Close() })
	scopes := []checker.Scope{user("nobody"), {Type: "session", Value: "none"}, {Type: "ip", Value: "203.0.113.9"}}
	b.Run("clean", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found, err := blocks.Lookup(b.Context(), scopes); err != nil || len(found) != 0 {
				b.Fatal(found, err)
			}
		}
	})
	scopes[1] = user("t7")
	b.Run("blocked", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found, err := blocks.Lookup(b.Context(), scopes); err != nil || len(found) != 1 {
				b.Fatal(found, err)
			}
		}
	})
	if err := client.Set(b.Context(), env.Prefix+":bench", "x", time.Hour).Err(); err != nil {
		b.Fatal(err)
	}
	b.Run("bare GET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Get(b.Context(), env.Prefix+":bench").Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRebuild writes a membership hash of 100,000 blocks.
func BenchmarkRebuild(b *testing.B) {
	env := testenv.Redis(b)
	blocks := newBlocks(b, env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	truth := memstore.NewBlocks(time.Now)
	for i := range 100_000 {
		mustPut(b, truth, block(user(fmt.Sprint("p", i)), fmt.Sprintf("%016x", i), true))
	}
	for b.Loop() {
		if n, err := blocks.Rebuild(b.Context(), truth.Each); err != nil || n != 100_000 {
			b.Fatal(n, err)
		}
	}
}
