package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
)

// TestDeletedStreamOrGroupIsRecreated removes the stream or the group under a worker that waits
// in a blocking read.
func TestDeletedStreamOrGroupIsRecreated(t *testing.T) {
	t.Parallel()
	cases := map[string]func(ctx context.Context, b *fixture) error{
		"FLUSHALL": func(ctx context.Context, b *fixture) error { return b.client.FlushAll(ctx).Err() },
		"DEL":      func(ctx context.Context, b *fixture) error { return b.client.Del(ctx, b.stream).Err() },
		"XGROUP DESTROY": func(ctx context.Context, b *fixture) error {
			return b.client.XGroupDestroy(ctx, b.stream, testGroup).Err()
		},
		"another type": func(ctx context.Context, b *fixture) error {
			err := b.client.Set(ctx, b.stream, "x", 0).Err()
			return errors.Join(err, b.client.PExpire(ctx, b.stream, 200*time.Millisecond).Err())
		},
	}
	for name, remove := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := privateFixture(t)
			h := &recorder{}
			o := b.options()
			o.Block = time.Second
			w := b.start(o, h)
			b.allHandled(b.add(10), h)
			if err := remove(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			b.eventually(func() error { // until the stream is one again
				return b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: []string{"a", "b"}}).Err()
			})
			b.allHandled(b.add(10), h)
			b.eventually(func() error { return want("recreated", w.metric("wardstream_groups_recreated_total"), 1.0) })
			if w.metric("wardstream_read_errors_total") == 0 {
				t.Error("no read error was counted")
			}
			b.eventually(func() error { return want("joined", w.Health()[0].Joined, true) })
		})
	}
}

func TestGroupMissingAtStartCountsNoLoss(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	h := &recorder{}
	w := b.start(b.options(), h)
	b.allHandled(b.add(1), h)
	if got := w.metric("wardstream_groups_recreated_total"); got != 0 {
		t.Errorf("%v groups counted as made again", got)
	}
}

// TestRedisCrashLosesNothing kills Redis again and again; it keeps every write, so that
// nothing may be lost.
func TestRedisCrashLosesNothing(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t, "--appendonly", "yes", "--appendfsync", "always")
	h := &recorder{}
	o := b.options()
	o.ClaimMinIdle = 2 * time.Second
	w := b.start(o, h)
	var ids []string
	for range 3 {
		ids = append(ids, b.add(500)...)
		b.eventually(func() error { return want("handled some", h.times(ids[len(ids)-500]) > 0, true) })
		env.Kill()
		b.eventually(func() error { return want("joined", w.Health()[0].Joined, false) })
		env.Restart()
	}
	b.allHandled(ids, h)
	if letters := b.deadLetters(); len(letters) != 0 {
		t.Errorf("dead letters are %+v", letters)
	}
	for _, name := range []string{"wardstream_entries_lost_total", "wardstream_groups_recreated_total"} {
		if got := w.metric(name); got != 0 {
			t.Errorf("%s is %v", name, got)
		}
	}
	b.eventually(func() error { return want("joined", w.Health()[0].Joined, true) })
}

// A proxy stands between a client and Redis. spoil sees each request and says what
// becomes of its reply.
type proxy struct {
	addr  string
	spoil func(request []byte) int64

	mu    sync.Mutex
	conns []net.Conn
}

const (
	pass    int64 = iota
	cut           // the request is done, then the connection breaks
	swallow       // the request is done, and nothing ever comes back
)

func newProxy(t *testing.T, target string, spoil func([]byte) int64) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: listener.Addr().String(), spoil: spoil}
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			_ = c.Close()
		}
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client, target)
		}
	}()
	return p
}

func (p *proxy) serve(client net.Conn, target string) {
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	var fate atomic.Int64 // of this connection's replies
	go replies(client, server, &fate)
	defer server.Close()
	defer client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if f := p.spoil(buf[:n]); f != pass {
			fate.Store(f)
		}
		_, _ = server.Write(buf[:n])
	}
}

func replies(client, server net.Conn, fate *atomic.Int64) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || fate.Load() == cut {
			return
		}
		if fate.Load() == pass {
			_, _ = client.Write(buf[:n])
		}
	}
}

// TestLostReadReplyIsRecovered loses replies that carry entries: they are pending then, and
// no worker has seen them.
func TestLostReadReplyIsRecovered(t *testing.T) {
	t.Parallel()
	for name, spoiled := range map[string]int64{"connection breaks": cut, "connection hangs": swallow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, env := privateFixture(t)
			var losses atomic.Int64
			losses.Store(3)
			p := newProxy(t, env.Addr, func(request []byte) int64 {
				// Reads of new entries while there are some.
				if bytes.Contains(bytes.ToUpper(request), []byte("XREADGROUP")) && bytes.HasSuffix(request, []byte(">\r\n")) &&
					env.Client.XLen(context.Background(), b.stream).Val() > 0 && losses.Add(-1) >= 0 {
					return spoiled
				}
				return pass
			})
			o := b.options()
			clients, err := Connect("redis://"+p.addr, ConnectOptions{Block: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = clients.Close() })
			o.Clients.Read = clients.Read
			o.Timeout = 300 * time.Millisecond
			o.ClaimMinIdle = time.Hour // nothing is claimed: what is found is recovered
			o.BatchSize = 16
			h := &recorder{}
			w := b.start(o, h)
			ids := b.add(100)
			b.allHandled(ids, h)
			if got := w.metric("wardstream_read_errors_total"); got < 3 {
				t.Errorf("counted %v read errors", got)
			}
			for _, id := range ids {
				if n := h.times(id); n != 1 {
					t.Errorf("%s was handled %d times", id, n)
				}
			}
		})
	}
}

func TestTrimmedWhilePendingIsCountedAsLost(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		owner string
		trim  func(ctx context.Context, b *fixture, ids []string) error
	}{
		"recovered, trimmed": {"w-0", func(ctx context.Context, b *fixture, ids []string) error {
			return b.client.XTrimMinID(ctx, b.stream, ids[7]).Err()
		}},
		"recovered, deleted": {"w-0", func(ctx context.Context, b *fixture, ids []string) error {
			return b.client.XDel(ctx, b.stream, ids[:7]...).Err()
		}},
		"claimed, trimmed": {"dead", func(ctx context.Context, b *fixture, ids []string) error {
			return b.client.XTrimMinID(ctx, b.stream, ids[7]).Err()
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			b.add(10)
			ids := b.deliver(tc.owner, 10)
			if err := tc.trim(context.Background(), b, ids); err != nil {
				t.Fatal(err)
			}
			h := &recorder{}
			o := b.options()
			o.ClaimMinIdle = 300 * time.Millisecond
			var said logRecorder
			o.Logger = slog.New(slog.NewTextHandler(&said, nil))
			w := b.start(o, h)
			b.allHandled(ids[7:], h)
			b.eventually(func() error { return want("lost", w.metric("wardstream_entries_lost_total"), 7.0) })
			b.eventually(func() error { return want("warned", said.have("level=WARN", "are lost", "first_id="+ids[0]), true) })
			for _, id := range ids[:7] {
				if n := h.times(id); n != 0 {
					t.Errorf("%s was handled %d times", id, n)
				}
			}
		})
	}
}

// TestTrimmedWhilePendingIsCountedOnceByTwo: a loop reads of trimmed entries among its own while
// another claims them. Only the one that takes them off the pending list counts them.
func TestTrimmedWhilePendingIsCountedOnceByTwo(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.add(10)
	ids := b.deliver("w-0", 10)
	if err := b.client.XTrimMaxLen(t.Context(), b.stream, 0).Err(); err != nil {
		t.Fatal(err)
	}
	o := b.options()
	registry := prometheus.NewRegistry()
	o.Registerer, o.Loops, o.ClaimMinIdle = registry, 2, time.Millisecond
	c, err := New(o, &recorder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.loops[0].redeliverer.ackTrimmed(t.Context(), ids[:3]); err != nil {
		t.Fatal(err)
	}
	b.eventually(func() error { // until they have been idle for long enough
		return errors.Join(c.loops[1].claim(t.Context()), want("lost", gathered(t, registry, "wardstream_entries_lost_total"), 10.0))
	})
	if err := c.loops[0].redeliverer.ackTrimmed(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	if n := gathered(t, registry, "wardstream_entries_lost_total"); n != 10 {
		t.Errorf("%v entries are counted as lost", n)
	}
}

func TestErrorRepliesAreClassified(t *testing.T) {
	t.Parallel()
	for text, gone := range map[string]bool{
		"NOGROUP No such key": true, "UNBLOCKED the stream key no longer exists": true, "ERR NOGROUP": false, "LOADING Redis is loading": false,
	} {
		if got := isGroupGone(fmt.Errorf("read: %w", resp.Error(text))); got != gone {
			t.Errorf("isGroupGone(%q) is %v", text, got)
		}
	}
	if isGroupGone(errors.New("NOGROUP from elsewhere")) || isGroupGone(nil) {
		t.Error("what Redis did not say is taken for its reply")
	}
	if !isOutOfMemory(fmt.Errorf("x: %w", resp.Error("OOM command not allowed"))) || isOutOfMemory(errors.New(strings.Repeat("OOM ", 2))) {
		t.Error("isOutOfMemory is wrong")
	}
}
