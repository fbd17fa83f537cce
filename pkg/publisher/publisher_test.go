package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
	"github.com/wardstream/wardstream/pkg/publisher"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// patience is for a machine that may be busy.
const patience = 30 * time.Second

// connect returns a client fit for a publisher.
func connect(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	client, err := redislookup.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func closed(t testing.TB, p *publisher.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}

// entries reads a stream as the detector does.
func entries(t testing.TB, client redis.Cmdable, stream string, o wire.DecoderOptions) []event.Event {
	t.Helper()
	found, err := client.XRange(context.Background(), stream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	decoder := wire.NewDecoder(o)
	out := make([]event.Event, len(found))
	for i, entry := range found {
		var fields []string
		for name, value := range entry.Values {
			fields = append(fields, name, value.(string))
		}
		if out[i], err = decoder.Decode(stream, entry.ID, fields); err != nil {
			t.Errorf("entry %v is a dead letter: %v", entry.Values, err)
		}
	}
	return out
}

func numbered(n int) publisher.Event {
	return publisher.Event{Type: "test.numbered", Attributes: map[string]any{"n": fmt.Sprint(n)}}
}

func numbers(events []event.Event) []string {
	out := make([]string, len(events))
	for i := range events {
		out[i] = events[i].Text("n")
	}
	return out
}

func upTo(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i)
	}
	return out
}

// TestPublishedEventsDecode: what is published is what the detector reads.
func TestPublishedEventsDecode(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	stream := env.Prefix + ":events"
	p := publisher.New(connect(t, env.URL), publisher.WithStreams(stream))
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, e := range []publisher.Event{
		{Type: "auth.login.failed", ID: "mine", Time: at, TraceParent: trace, Attributes: map[string]any{"source.address": "203.0.113.9", "user.name": `<"eve">`}},
		{Type: "model.update", Attributes: map[string]any{
			"user": map[string]any{"id": 42}, "changed_fields": []string{"email"}, "nothing": nil, "http.response.status_code": 404,
			"event_type": "forged", "event_id": "forged", "timestamp": 5, "traceparent": "forged", "attributes": map[string]any{"source.address": "forged"},
		}},
		{Type: "auth.login.failed"},
	} {
		if !p.Publish(e) {
			t.Fatal("there was no room")
		}
	}
	closed(t, p)
	got := entries(t, env.Client, stream, wire.DecoderOptions{OwnTime: true})
	if len(got) != 3 {
		t.Fatalf("%d entries", len(got))
	}
	first, second, third := got[0], got[1], got[2]
	if first.Type != "auth.login.failed" || first.Member != "mine" || !first.Time.Equal(at) || first.TraceParent != trace ||
		first.Scope("ip") != "203.0.113.9" || first.Text("user.name") != `<"eve">` {
		t.Errorf("first event %+v", first)
	}
	fields, _ := second.Get("changed_fields")
	if second.Type != "model.update" || second.Scope("user") != "42" || fmt.Sprint(fields) != "[email]" || second.Text("http.response.status_code") != "404" ||
		second.TraceParent != "" || second.Scope("ip") != "" || time.Since(second.Time) > time.Hour {
		t.Errorf("second event %+v", second)
	}
	if second.Member == "forged" || second.Member == second.ID || second.Member == third.Member || len(third.Member) < 20 {
		t.Errorf("events are counted under %q and %q", second.Member, third.Member)
	}
	if s := p.Stats(); s != (publisher.Stats{Published: 3}) {
		t.Errorf("stats %+v", s)
	}
}

// A gate is a hook of go-redis that holds and breaks pipelines.
type gate struct {
	pipelines atomic.Int64
	open      chan struct{} // a pipeline goes when it can receive
	after     func(n int64, cmds []redis.Cmder) error
}

func (*gate) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		n := g.pipelines.Add(1)
		if g.open != nil {
			<-g.open
		}
		err := next(ctx, cmds)
		if g.after != nil && err == nil {
			err = g.after(n, cmds)
		}
		return err
	}
}

// TestEventsAreSentTogetherAndInOrder: what gathers while a pipeline is under way goes with the
// next one.
func TestEventsAreSentTogetherAndInOrder(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	g := &gate{open: make(chan struct{})}
	client := connect(t, env.URL)
	client.AddHook(g)
	p := publisher.New(client, publisher.WithStreams(env.Prefix+":events"), publisher.WithTimeout(patience))
	p.Publish(numbered(0))
	testenv.Eventually(t, patience, func() error {
		if g.pipelines.Load() == 0 {
			return errors.New("nothing is sent yet")
		}
		return nil
	})
	for n := 1; n < 1000; n++ {
		p.Publish(numbered(n))
	}
	if s := p.Stats(); s.Queued != 1000 {
		t.Errorf("stats %+v, want 1,000 queued", s)
	}
	close(g.open)
	closed(t, p)
	if n := g.pipelines.Load(); n != 3 {
		t.Errorf("%d pipelines, want 3: 1, 512 and 487 events", n)
	}
	if got := numbers(entries(t, env.Client, env.Prefix+":events", wire.DecoderOptions{})); !slices.Equal(got, upTo(1000)) {
		t.Errorf("the order is lost: %v", got)
	}
}

// dropped counts events by reason.
type dropped struct {
	mu sync.Mutex
	by map[error]int
}

func (d *dropped) hook(n int, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = map[error]int{}
	}
	for _, reason := range []error{publisher.ErrFull, publisher.ErrExpired, publisher.ErrInvalid, publisher.ErrClosed} {
		if errors.Is(why, reason) {
			d.by[reason] += n
		}
	}
}

func (d *dropped) want(t *testing.T, why error, n int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by[why] != n || len(d.by) != 1 {
		t.Errorf("dropped %v, want %d because %v", d.by, n, why)
	}
}

// TestFullBufferDropsAndCounts: with a Redis that doesn't answer, Publish returns at once, and what
// has no room is counted.
func TestFullBufferDropsAndCounts(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	var lost dropped
	g := &gate{open: make(chan struct{})}
	client := connect(t, env.URL)
	client.AddHook(g)
	p := publisher.New(client, publisher.WithStreams(env.Prefix+":events"), publisher.WithBuffer(10), publisher.WithTimeout(patience),
		publisher.WithOnDrop(lost.hook))
	refused := 0
	for n := range 100 {
		if !p.Publish(numbered(n)) {
			refused++
		}
	}
	if s := p.Stats(); refused != 90 || s.Dropped != 90 || s.Queued != 10 {
		t.Errorf("%d refused, stats %+v", refused, s)
	}
	lost.want(t, publisher.ErrFull, 90)
	close(g.open)
	closed(t, p)
	if got := numbers(entries(t, env.Client, env.Prefix+":events", wire.DecoderOptions{})); !slices.Equal(got, upTo(10)) {
		t.Errorf("kept %v, want the first ten", got)
	}
}

// TestLostReplyResendsBatch: the batch is sent again, and its events still count once.
func TestLostReplyResendsBatch(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	var failures atomic.Int64
	g := &gate{open: make(chan struct{}), after: func(n int64, cmds []redis.Cmder) error {
		if n != 1 {
			return nil
		}
		for _, cmd := range cmds { // Redis has them; the answers are lost
			cmd.SetErr(net.ErrClosed)
		}
		return net.ErrClosed
	}}
	client := connect(t, env.URL)
	client.AddHook(g)
	p := publisher.New(client, publisher.WithStreams(env.Prefix+":events"), publisher.WithTimeout(patience),
		publisher.WithOnError(func(error) { failures.Add(1) }))
	for n := range 20 {
		p.Publish(numbered(n))
	}
	close(g.open)
	closed(t, p)
	got := entries(t, env.Client, env.Prefix+":events", wire.DecoderOptions{})
	members := map[string]bool{}
	for _, e := range got {
		members[e.Member] = true
	}
	if len(got) <= 20 || len(members) != 20 {
		t.Errorf("%d entries of %d events, want some twice and 20 events", len(got), len(members))
	}
	if s := p.Stats(); s != (publisher.Stats{Published: 20, Retries: 1}) || failures.Load() != 1 {
		t.Errorf("stats %+v, %d failures heard of", s, failures.Load())
	}
}

// TestPartialReplyResendsUnconfirmed: only what Redis didn't confirm is sent again.
func TestPartialReplyResendsUnconfirmed(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	client := connect(t, env.URL)
	g := &gate{open: make(chan struct{})}
	client.AddHook(g)
	first, second := env.Prefix+":a", env.Prefix+":b"
	if err := env.Client.Set(t.Context(), second, "in the way", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	repaired := make(chan struct{})
	p := publisher.New(client, publisher.WithStreams(first, second), publisher.WithTimeout(patience), publisher.WithOnError(func(err error) {
		if !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("error %v", err)
		}
		select {
		case <-repaired:
		default:
			env.Client.Del(context.Background(), second)
			close(repaired)
		}
	}))
	for n := range 50 {
		e := numbered(n)
		e.Attributes["source.address"] = fmt.Sprintf("203.0.113.%d", n)
		p.Publish(e)
	}
	close(g.open)
	closed(t, p)
	all := append(entries(t, client, first, wire.DecoderOptions{}), entries(t, client, second, wire.DecoderOptions{})...)
	got := numbers(all)
	slices.Sort(got)
	want := upTo(50)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("entries of both streams are %v, want each event once", got)
	}
	if p.Stats().Retries == 0 {
		t.Error("nothing failed: the test tests nothing")
	}
}

// TestSeveralStreams: the events of one client go to one stream, in order.
func TestSeveralStreams(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	streams := []string{env.Prefix + ":0", env.Prefix + ":1", env.Prefix + ":2"}
	p := publisher.New(connect(t, env.URL), publisher.WithStreams(streams...))
	for n := range 300 {
		e := numbered(n)
		e.Attributes["source.address"] = fmt.Sprintf("203.0.113.%d", n%30)
		p.Publish(e)
	}
	closed(t, p)
	where := map[string]string{}
	for _, stream := range streams {
		last := map[string]int{}
		got := entries(t, env.Client, stream, wire.DecoderOptions{})
		for _, e := range got {
			client, n := e.Scope("ip"), 0
			_, _ = fmt.Sscan(e.Text("n"), &n)
			if where[client] != "" && where[client] != stream || n < last[client] {
				t.Errorf("client %s is in %s and %s, or event %d after %d", client, where[client], stream, n, last[client])
			}
			where[client], last[client] = stream, n
		}
		if len(got) == 0 {
			t.Errorf("%s is empty", stream)
		}
	}
}

// TestOutageDelaysEvents: events wait for Redis to come back.
func TestOutageDelaysEvents(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	var failed atomic.Int64
	p := publisher.New(connect(t, env.URL), publisher.WithMaxAge(time.Hour), publisher.WithOnError(func(error) { failed.Add(1) }))
	env.Kill()
	for n := range 100 {
		p.Publish(numbered(n))
	}
	testenv.Eventually(t, patience, func() error {
		if failed.Load() < 2 {
			return errors.New("it doesn't try again")
		}
		return nil
	})
	env.Restart()
	closed(t, p)
	if got := numbers(entries(t, env.Client, publisher.DefaultStream, wire.DecoderOptions{})); !slices.Equal(got, upTo(100)) {
		t.Errorf("after the outage there are %v", got)
	}
}

// TestStaleEventsAreDropped: what comes minutes late would look like a burst of now.
func TestStaleEventsAreDropped(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	var seconds atomic.Int64
	clock := func() time.Time { return time.Unix(1_700_000_000+seconds.Load(), 0) }
	var lost dropped
	p := publisher.New(connect(t, env.URL), publisher.WithMaxAge(10*time.Second), publisher.WithClock(clock), publisher.WithOnDrop(lost.hook),
		publisher.WithOnError(func(error) { seconds.Add(11) })) // the attempt took that long
	env.Kill()
	p.Publish(numbered(0))
	testenv.Eventually(t, patience, func() error {
		if s := p.Stats(); s.Dropped != 1 || s.Queued != 0 {
			return fmt.Errorf("stats %+v", s)
		}
		return nil
	})
	lost.want(t, publisher.ErrExpired, 1)
	env.Restart()
	e := numbered(1)
	e.Time = clock().Add(-24 * time.Hour) // what happened long ago may be published now
	p.Publish(e)
	closed(t, p)
	if got := numbers(entries(t, env.Client, publisher.DefaultStream, wire.DecoderOptions{})); !slices.Equal(got, []string{"1"}) {
		t.Errorf("published %v, want the second event alone", got)
	}
}

func TestInvalidEventsAreDroppedAlone(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	var lost dropped
	g := &gate{open: make(chan struct{})}
	client := connect(t, env.URL)
	client.AddHook(g)
	p := publisher.New(client, publisher.WithStreams(env.Prefix+":events"), publisher.WithOnDrop(lost.hook), publisher.WithTimeout(patience))
	for _, e := range []publisher.Event{
		numbered(0),
		{Type: "x", Attributes: map[string]any{"bad": math.NaN()}},
		{Type: "x", Attributes: map[string]any{"bad": make(chan int)}},
		{Attributes: map[string]any{"n": "no type"}},
		{Type: " "},
		{Type: "x", Attributes: map[string]any{"large": strings.Repeat("x", 256<<10)}},
		numbered(1),
	} {
		p.Publish(e)
	}
	close(g.open)
	closed(t, p)
	lost.want(t, publisher.ErrInvalid, 5)
	if got := numbers(entries(t, env.Client, env.Prefix+":events", wire.DecoderOptions{})); !slices.Equal(got, upTo(2)) {
		t.Errorf("published %v", got)
	}
}

// TestNULIsReplaced: a NUL makes a dead letter of an entry, and a client has it in its path for a
// %00.
func TestNULIsReplaced(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	p := publisher.New(connect(t, env.URL), publisher.WithStreams(env.Prefix+":events"))
	p.Publish(publisher.Event{Type: "x", Attributes: map[string]any{
		"url.path": "/login\x00", "escaped": `\u0000`, "both": "\\\x00\\\\u0000\x00", "bytes": "\xff", "list": []string{"\x00"}, "name\x00": "y",
	}})
	closed(t, p)
	got := entries(t, env.Client, env.Prefix+":events", wire.DecoderOptions{})
	list, _ := got[0].Get("list")
	if e := got[0]; e.Text("url.path") != "/login\uFFFD" || e.Text("escaped") != `\u0000` || e.Text("both") != "\\\uFFFD\\\\u0000\uFFFD" ||
		e.Text("bytes") != "\uFFFD" || fmt.Sprint(list) != "[\uFFFD]" || e.Text("name\uFFFD") != "y" {
		t.Errorf("event %+v", e)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	var lost dropped
	p := publisher.New(connect(t, env.URL), publisher.WithOnDrop(lost.hook))
	env.Kill()
	for n := range 5 {
		p.Publish(numbered(n))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "5 events lost") {
		t.Errorf("Close = %v", err)
	}
	testenv.Eventually(t, patience, func() error {
		if s := p.Stats(); s.Dropped != 5 || s.Queued != 0 {
			return fmt.Errorf("stats %+v", s)
		}
		return nil
	})
	if p.Publish(numbered(6)) {
		t.Error("a closed publisher takes events")
	}
	lost.want(t, publisher.ErrClosed, 6)
	closed(t, p) // again
}

func TestMaxLen(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	for stream, opts := range map[string][]publisher.Option{":bounded": {publisher.WithMaxLen(100)}, ":free": nil} {
		p := publisher.New(connect(t, env.URL), append(opts, publisher.WithStreams(env.Prefix+stream))...)
		for n := range 2000 {
			p.Publish(numbered(n))
		}
		closed(t, p)
		n, err := env.Client.XLen(t.Context(), env.Prefix+stream).Result()
		if bounded := n < 400; err != nil || bounded != (opts != nil) {
			t.Errorf("%s has %d entries: %v", stream, n, err)
		}
	}
}

// TestXADDPermissionSuffices: a user that may do nothing but XADD can publish.
func TestXADDPermissionSuffices(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	if err := env.Client.ACLSetUser(t.Context(), "producer", "on", ">secret", "resetkeys", "%W~audit:events", "nocommands", "+xadd").Err(); err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]redis.UniversalClient{
		"redislookup.Connect": connect(t, strings.Replace(env.URL, "//", "//producer:secret@", 1)),
		"go-redis's defaults": redis.NewClient(&redis.Options{Addr: env.Addr, Username: "producer", Password: "secret"}),
	} {
		p := publisher.New(client, publisher.WithOnError(func(err error) { t.Errorf("%s: %v", name, err) }))
		p.Publish(numbered(0))
		closed(t, p)
		if s := p.Stats(); s.Published != 1 {
			t.Errorf("%s: stats %+v", name, s)
		}
		_ = client.Close()
	}
}

// FuzzAttribute: whatever a client sends, the event is one that detection reads.
func FuzzAttribute(f *testing.F) {
	for _, text := range []string{"/x", "\x00", `\u0000`, "\\\x00", "\xff\xfe", "a\u2028<b>", `{"event_type":"forged"}`} {
		f.Add("url.path", text)
	}
	f.Add("attributes", "x")
	f.Add("traceparent", "x")
	f.Add("event", "x")
	decoder := wire.NewDecoder(wire.DecoderOptions{})
	f.Fuzz(func(t *testing.T, name, text string) {
		raw, err := publisher.Encode(publisher.Event{Type: "http.response.success", ID: "id", Attributes: map[string]any{name: text}})
		const escaped = len(`\ufffd`) // what stands for a byte that isn't UTF-8
		if err != nil || escaped*len(name) > 4096 {
			return // too large, which is reported
		}
		e, err := decoder.Decode("s", "1-1", []string{"event", string(raw)})
		if err != nil || e.Type != "http.response.success" || e.Member != "id" {
			t.Fatalf("%q: %q decodes to %+v: %v", raw, text, e, err)
		}
	})
}

// BenchmarkPublish is what a request pays, and what a synchronous XADD would cost it.
func BenchmarkPublish(b *testing.B) {
	env := testenv.Redis(b)
	client := connect(b, env.URL)
	attributes := map[string]any{
		"source.address": "203.0.113.9", "url.path": "/users/42", "http.route": "/users/{id}", "http.request.method": "GET", "http.response.status_code": 200,
	}
	b.Run("Publish", func(b *testing.B) {
		p := publisher.New(client, publisher.WithStreams(env.Prefix+":a"), publisher.WithMaxLen(1000))
		defer closed(b, p)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%4096 == 0 { // no faster than Redis takes them, or it would measure the full buffer
				b.StopTimer()
				for p.Stats().Queued > 0 {
					runtime.Gosched()
				}
				b.StartTimer()
			}
			p.Publish(publisher.Event{Type: "http.response.success", Attributes: attributes})
		}
		if p.Stats().Dropped > 0 {
			b.Errorf("stats %+v", p.Stats())
		}
	})
	b.Run("Publish, buffer full", func(b *testing.B) {
		g := &gate{open: make(chan struct{})}
		held := connect(b, env.URL)
		held.AddHook(g)
		p := publisher.New(held, publisher.WithStreams(env.Prefix+":c"), publisher.WithBuffer(1))
		p.Publish(numbered(0))
		b.ReportAllocs()
		for b.Loop() {
			p.Publish(publisher.Event{Type: "http.response.success", Attributes: attributes})
		}
		close(g.open)
		closed(b, p)
	})
	b.Run("XADD, for comparison", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw, err := publisher.Encode(publisher.Event{Type: "http.response.success", Attributes: attributes})
			if err == nil {
				err = client.XAdd(b.Context(), &redis.XAddArgs{Stream: env.Prefix + ":d", MaxLen: 1000, Approx: true, Values: []any{"event", raw}}).Err()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
