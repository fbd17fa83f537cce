package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
	"github.com/wardstream/wardstream/internal/testenv"
)

// nothing is the reply of a blocking read that got no entry.
var nothing = []byte("*-1\r\n")

// A waiter stands between a client and Redis, and has blocking reads take as long as no server
// should: it plays Redis 7.2.0 to 7.2.4, which begin to wait anew, or a service that doesn't wait
// at all.
type waiter struct {
	addr   string
	anew   bool
	reads  atomic.Int64 // blocking ones
	target string
}

func newWaiter(t *testing.T, target string, anew bool) *waiter {
	t.Helper()
	w := &waiter{anew: anew, target: target}
	w.addr = testenv.Listen(t, w.serve)
	return w
}

func (w *waiter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.target)
	if err != nil {
		return
	}
	defer server.Close()
	var mu sync.Mutex
	var last []byte // request
	go func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			again := last
			mu.Unlock()
			if w.anew && bytes.Equal(buf[:n], nothing) && bytes.Contains(again, []byte("BLOCK")) {
				_, _ = server.Write(again)
				continue
			}
			_, _ = client.Write(buf[:n])
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		request := buf[:n]
		if bytes.Contains(request, []byte("BLOCK")) {
			w.reads.Add(1)
		}
		if !w.anew {
			request = withoutBlock(request)
		}
		mu.Lock()
		last = bytes.Clone(request)
		mu.Unlock()
		_, _ = server.Write(request)
	}
}

// withoutBlock is a read that doesn't wait.
func withoutBlock(request []byte) []byte {
	before, after, ok := bytes.Cut(request, []byte("$5\r\nBLOCK\r\n$2\r\n50\r\n"))
	if !ok {
		return request
	}
	count, rest, _ := bytes.Cut(before, []byte("\r\n"))
	n, _ := strconv.Atoi(string(count[1:]))
	return slices.Concat(fmt.Appendf(nil, "*%d\r\n", n-2), rest, after)
}

// paced is a worker that reads through a waiter, with what it logs.
func (b *fixture) paced(w *waiter) (Options, *logRecorder) {
	b.t.Helper()
	o := b.options()
	clients, err := Connect("redis://"+w.addr, ConnectOptions{Block: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	b.must(err)
	b.t.Cleanup(func() { _ = clients.Close() })
	said := &logRecorder{}
	o.Clients.Read, o.Timeout, o.Block = clients.Read, 300*time.Millisecond, 50*time.Millisecond
	o.ClaimMinIdle, o.Logger = time.Hour, slog.New(slog.NewTextHandler(said, nil))
	return o, said
}

// TestReadTimeoutKeepsReadiness: readiness doesn't hang on how long a read takes, if the
// server answers otherwise.
func TestReadTimeoutKeepsReadiness(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t)
	o, said := b.paced(newWaiter(t, env.Addr, true))
	h := &recorder{}
	w := b.start(o, h)
	b.eventually(func() error { return want("joined", w.Health()[0].Joined, true) })
	for late := 0.0; late < 3; late = w.metric("wardstream_read_errors_total") { // each takes longer
		if !w.Health()[0].Joined {
			t.Fatal("it isn't ready any more")
		}
		<-time.After(time.Millisecond)
	}
	ids := b.add(20)
	b.allHandled(ids, h)
	for _, id := range ids {
		if n := h.times(id); n != 1 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
	if n := said.count("a blocking read took longer than asked"); n != 1 || said.count("reading the stream failed") != 0 {
		t.Errorf("said so %d times, and: %s", n, &said.text)
	}
}

// TestReadsReturningAtOnceAreSpacedOut: a service that answers blocking reads at once isn't asked
// without end.
func TestReadsReturningAtOnceAreSpacedOut(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t)
	server := newWaiter(t, env.Addr, false)
	o, said := b.paced(server)
	o.Loops = 2
	h := &recorder{}
	b.start(o, h)
	b.eventually(func() error { return want("said so", said.count("at intervals instead"), 1) })
	before := server.reads.Load()
	<-time.After(2 * time.Second)
	if n := server.reads.Load() - before; n > 60 { // one each 50 ms, or hundreds a second
		t.Errorf("%d reads in two seconds", n)
	}
	ids := b.add(50)
	b.allHandled(ids, h)
	if n := said.count("at intervals instead"); n != 1 {
		t.Errorf("said so %d times", n)
	}
}

func TestPaceRests(t *testing.T) {
	t.Parallel()
	const block = time.Second
	var p pace
	for i, want := range []int64{0, 0, 20, 40, 80, 160, 320, 500, 500} {
		if got := p.rest(0, block, 0); got.Milliseconds() != want {
			t.Errorf("after %d: %s, want %d ms", i+1, got, want)
		}
	}
	for name, rest := range map[string]func() time.Duration{
		"entries": func() time.Duration { return p.rest(1, block, 0) }, "one that waited": func() time.Duration { return p.rest(0, block, block) },
	} {
		p.empty = 20
		if got := rest(); got != 0 || p.empty != 0 {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := p.rest(0, 0, 0); got != 0 || p.empty != 0 {
		t.Errorf("a read that isn't to wait: %s", got)
	}
}

// TestWorkerReconnectsSoonAfterOutage: however long Redis was gone, the worker asks it again at
// short intervals.
func TestWorkerReconnectsSoonAfterOutage(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t, "--appendonly", "yes", "--appendfsync", "always")
	o := b.options()
	var said logRecorder
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	h := &recorder{}
	w := b.start(o, h)
	b.allHandled(b.add(3), h)
	env.Kill()
	b.eventually(func() error { // many dials fail
		return want("failures", w.metric("wardstream_read_errors_total") > 30, true)
	})
	if n := said.count("reading the stream failed"); n < 1 || n > 3 {
		t.Errorf("said %d times that reading failed", n)
	}
	env.Restart()
	b.allHandled(b.add(3), h)
	b.eventually(func() error { return want("said it is back", said.have("can be read again"), true) })
	for attempt := range 20 {
		if got := min(backoff(attempt+1), jitter(outagePause)); got > outagePause {
			t.Errorf("attempt %d waits %s", attempt, got)
		}
	}
	for text, want := range map[string]bool{
		"LOADING Redis is loading": true, "CLUSTERDOWN x": true, "MASTERDOWN x": true, "NOPERM x": false, "WRONGPASS x": false, "NOGROUP x": false,
	} {
		if got := isTransient(fmt.Errorf("x: %w", resp.Error(text))); got != want {
			t.Errorf("%s passes: %v", text, got)
		}
	}
	if !isTransient(errors.New("connection refused")) {
		t.Error("an outage doesn't pass")
	}
}

// TestWorkerFollowsNameToAnotherServer: the old server lives on with its connections, where
// nothing comes any more.
func TestWorkerFollowsNameToAnotherServer(t *testing.T) {
	t.Parallel()
	b, _ := privateFixture(t)
	next := testenv.PrivateRedis(t)
	name := testenv.NewName(t, b.client.Options().Addr)
	o := b.connected("redis://"+name.Addr, ConnectOptions{})
	h := &recorder{}
	b.start(o, h)
	b.allHandled(b.add(5), h)
	name.LeadTo(next.Addr)
	b.client = next.Client
	b.allHandled(b.add(5), h)
}

// TestClusterPrimaryKilledWorkerContinues: the worker goes on reading, and handling, once the
// replica of the stream's primary is elected.
func TestClusterPrimaryKilledWorkerContinues(t *testing.T) {
	t.Parallel()
	env := testenv.Cluster(t)
	b := &fixture{t: t, url: env.URL, prefix: "ws-test", stream: "ws-test:events"}
	i := env.PrimaryOf(b.stream)
	b.client = env.Primaries[i].Client
	o := b.connected(env.URL, ConnectOptions{})
	h := &recorder{}
	w := b.start(o, h)
	b.allHandled(b.add(50), h)
	if n, err := b.client.Wait(t.Context(), 1, patience).Result(); err != nil || n != 1 {
		t.Fatalf("%d replicas, %v", n, err)
	}
	env.Primaries[i].Kill()
	env.Elected(i)
	b.client = env.Replicas[i].Client
	testenv.Eventually(t, patience, func() error {
		return b.client.XAdd(context.Background(), &redis.XAddArgs{Stream: b.stream, Values: []string{"first", "after"}}).Err()
	})
	b.allHandled(b.add(50), h)
	b.eventually(func() error { return want("joined", w.Health()[0].Joined, true) })
}
