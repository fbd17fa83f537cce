package mirror

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	manyBlocks  = 100_000
	memoryLimit = 40 << 20 // bytes of heap for so many
)

// blockAt is the i-th of many blocks as detectors write them: addresses for the most part, and some
// of each other kind.
func blockAt(i int) checker.Block {
	now := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
	addr := netip.AddrFrom4([4]byte{byte(10 + i%200), byte(i * 7919 >> 16), byte(i * 7919 >> 8), byte(i * 7919)})
	b := checker.Block{
		ID: fmt.Sprintf("%032x", i), Rule: "brute_force_login", StatusCode: 429, Message: wire.DefaultMessage, CreatedAt: now, ExpiresAt: now.AddDate(10, 0, 0),
		Reason: fmt.Sprintf("%d failed logins from %s in 5m0s", 5+i%50, addr), Metadata: map[string]any{"count": 5, "window": "5m0s"},
	}
	switch i % 10 {
	case 0:
		b.Scope = checker.Scope{Type: checker.ScopeUser, Value: fmt.Sprint("user-", i)}
	case 1:
		b.Scope = checker.Scope{Type: checker.ScopeSession, Value: fmt.Sprintf("%032x", i)}
	case 2:
		b.Scope = checker.Scope{Type: checker.ScopeIP, Value: netip.PrefixFrom(addr, 24).Masked().String()}
	case 3:
		var v6 [16]byte
		copy(v6[:], []byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), byte(i * 31), 15: byte(i)})
		b.Scope = checker.IPScope(netip.AddrFrom16(v6), 128)
	default:
		b.Scope = checker.IPScope(addr, 0)
	}
	return b
}

// filled returns a Mirror that follows, of n blocks and of nothing real.
func filled(n int) *Mirror {
	m := New(nil)
	r := newReplica()
	for i := range n {
		b := blockAt(i)
		r.set(b.Scope, newEntry(b, 1))
	}
	r.shared = true
	m.view.Store(&view{replica: r, state: Following})
	m.proved(time.Now().Add(time.Hour))
	return m
}

var clean = checker.Subject{
	IP: netip.MustParseAddr("192.0.2.7"), User: "u-4711", Username: "eve@example.com", Session: "0123456789abcdef0123456789abcdef", Path: "/x",
}

// BenchmarkClean is a check of a client that isn't blocked: address, user, user name and session.
func BenchmarkClean(b *testing.B) {
	for _, n := range []int{0, manyBlocks} {
		m := filled(n)
		b.Run(fmt.Sprintf("blocks=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !m.Clean(clean) {
					b.Fatal("not clean")
				}
			}
		})
		b.Run(fmt.Sprintf("blocks=%d/parallel", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if !m.Clean(clean) {
						b.Fail()
					}
				}
			})
		})
	}
}

// BenchmarkLookup is what a hit costs without a confirmation.
func BenchmarkLookup(b *testing.B) {
	m := filled(manyBlocks)
	scopes := []checker.Scope{{Type: checker.ScopeUser, Value: "u"}, blockAt(4).Scope}
	b.ReportAllocs()
	for b.Loop() {
		if blocks, err := m.Lookup(b.Context(), scopes); len(blocks) == 0 || err != nil {
			b.Fatal(blocks, err)
		}
	}
}

// BenchmarkChange is one change, Redis aside.
func BenchmarkChange(b *testing.B) {
	m := filled(manyBlocks)
	r := m.view.Load().replica
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		block := blockAt(i % manyBlocks)
		r.set(block.Scope, newEntry(block, 0))
	}
}

// heapOf is what make's result takes on the heap.
func heapOf[T any](made func() T) (T, uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	v := made()
	runtime.GC()
	runtime.GC() // what the first one unlinked
	runtime.ReadMemStats(&after)
	return v, after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
}

// BenchmarkMemory reports the heap of a mirror of 100,000 blocks.
func BenchmarkMemory(b *testing.B) {
	b.Run("100k", func(b *testing.B) {
		for b.Loop() {
			m, bytes := heapOf(func() *Mirror { return filled(manyBlocks) })
			b.ReportMetric(float64(bytes)/(1<<20), "MiB")
			b.ReportMetric(float64(bytes)/float64(m.Status().Blocks), "B/block")
		}
	})
}

// BenchmarkSnapshot reads 100,000 blocks from Redis: the first time, and when most are known.
func BenchmarkSnapshot(b *testing.B) {
	env := testenv.PrivateRedis(b)
	m := New(env.Client)
	fill(b, env, manyBlocks)
	first, err := m.takeSnapshot(b.Context(), newReplica())
	if err != nil || first.size() == 0 {
		b.Fatal(err)
	}
	for name, old := range map[string]*replica{"first": newReplica(), "reconcile": first} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			used := cpuOf(b, env)
			for b.Loop() {
				if _, err := m.takeSnapshot(b.Context(), old); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuOf(b, env)-used)/float64(b.N)*1000, "redis-ms/op")
		})
	}
}

// fill writes n block keys.
func fill(b *testing.B, env *testenv.PrivateRedisEnv, n int) {
	b.Helper()
	keys := rediskey.Keys{Prefix: rediskey.DefaultPrefix}
	for from := 0; from < n; from += 1000 {
		pipe := env.Client.Pipeline()
		for i := from; i < min(n, from+1000); i++ {
			block := blockAt(i)
			raw, err := wire.EncodeBlock(block)
			if err != nil {
				b.Fatal(err)
			}
			pipe.Set(b.Context(), keys.Block(block.Scope), raw, time.Hour)
		}
		if _, err := pipe.Exec(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuOf is the processor time in seconds that Redis has used.
func cpuOf(b *testing.B, env *testenv.PrivateRedisEnv) float64 {
	b.Helper()
	var user, sys float64
	text, err := env.Client.Info(context.Background(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := fmt.Sscanf(text[len("# CPU\r\n"):], "used_cpu_sys:%f\r\nused_cpu_user:%f", &sys, &user); err != nil {
		b.Fatal(err)
	}
	return user + sys
}
