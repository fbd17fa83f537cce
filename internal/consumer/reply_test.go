package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const goodReply = "*1\r\n*2\r\n$1\r\ns\r\n*3\r\n" +
	"*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$0\r\n\r\n$2\r\nbc\r\n$4\r\n\r\n$1\r\n" +
	"*2\r\n$3\r\n2-0\r\n*-1\r\n" +
	"*2\r\n$3\r\n3-1\r\n*2\r\n$1\r\nx\r\n$3\r\n\x00\xff\n\r\n"

func TestParseRead(t *testing.T) {
	t.Parallel()
	got, err := parseRead([]byte(goodReply))
	want := []Entry{
		{Stream: "s", ID: "1-0", Fields: []string{"a", "", "bc", "\r\n$1"}},
		{Stream: "s", ID: "2-0"},
		{Stream: "s", ID: "3-1", Fields: []string{"x", "\x00\xff\n"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parsed %+v, %v", got, err)
	}
	for _, nothing := range []string{"*-1\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"} {
		if got, err := parseRead([]byte(nothing)); err != nil || len(got) != 0 {
			t.Errorf("parseRead(%q) = %v, %v", nothing, got, err)
		}
	}
	if _, err := parseRead([]byte("-NOGROUP No such key\r\n")); !isReply(err, "NOGROUP") || err.Error() != "NOGROUP No such key" {
		t.Errorf("an error reply is %v", err)
	}
}

func TestParseReadRefusesGarbage(t *testing.T) {
	t.Parallel()
	for i := range len(goodReply) {
		if got, err := parseRead([]byte(goodReply[:i])); !errors.Is(err, errReply) {
			t.Fatalf("%d bytes of a reply: %v, %v", i, got, err)
		}
	}
	for _, bad := range []string{
		goodReply + "x", "*2\r\n", "*0\r\n", "$-1\r\n", ":1\r\n", "*1\r\n-ERR x\r\n", "*-2\r\n", "*1x\r\n", "*\r\n", "*1\n",
		"*99999999999999999999999999\r\n", "*1\r\n*1\r\n$1\r\ns\r\n", "*1\r\n*-1\r\n", "*1\r\n*2\r\n$-1\r\n*0\r\n",
		"*1\r\n*2\r\n$1\r\ns\r\n*1000000000\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*1\r\n$1\r\na\r\n",
		"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*3\r\n$3\r\n1-0\r\n*0\r\n", "*1\r\n*2\r\n$9999999\r\ns\r\n*0\r\n", "*1\r\n*2\r\n$1\r\nsX\r*0\r\n",
	} {
		if got, err := parseRead([]byte(bad)); !errors.Is(err, errReply) {
			t.Errorf("parseRead(%q) = %v, %v", bad, got, err)
		}
	}
}

// render writes a tree as Redis would.
func render(w *bytes.Buffer, v any) {
	switch v := v.(type) {
	case nil:
		w.WriteString("*-1\r\n")
	case string:
		fmt.Fprintf(w, "$%d\r\n%s\r\n", len(v), v)
	case []any:
		fmt.Fprintf(w, "*%d\r\n", len(v))
		for _, item := range v {
			render(w, item)
		}
	}
}

// treeOf is the reply for entries, taken apart.
func treeOf(entries []Entry) any {
	list := make([]any, len(entries))
	for i, e := range entries {
		var fields any
		if e.Fields != nil {
			texts := make([]any, len(e.Fields))
			for j, f := range e.Fields {
				texts[j] = f
			}
			fields = texts
		}
		list[i] = []any{e.ID, fields}
	}
	return []any{[]any{"s", list}}
}

// FuzzParseRead feeds replies to the parser. What it accepts, written anew and
// read the slow way, must be the same.
func FuzzParseRead(f *testing.F) {
	f.Add([]byte(goodReply))
	f.Add([]byte("*-1\r\n"))
	f.Add([]byte("-UNBLOCKED the stream key no longer exists\r\n"))
	f.Add([]byte("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n"))
	f.Add([]byte("*1\r\n*2\r\n$1\r\ns\r\n*99\r\n*2\r\n$-1\r\n"))
	f.Add([]byte("*2\r\n:7\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkShed(t, raw)
		entries, err := parseRead(raw)
		if err != nil {
			var reply redis.Error
			if !errors.Is(err, errReply) && !errors.As(err, &reply) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for i := range entries {
			if entries[i].Stream = "s"; len(entries[i].Fields)%2 != 0 {
				t.Fatalf("odd fields in %q", raw)
			}
		}
		tree := treeOf(entries)
		slow, err := readTree(tree)
		if err != nil || len(slow) != len(entries) || len(slow) > 0 && !reflect.DeepEqual(slow, entries) {
			t.Fatalf("%q: %+v by the fast way, %+v by the slow one, %v", raw, entries, slow, err)
		}
		if tree, err := parseTree(raw, claimDepth+1); err != nil {
			t.Fatalf("%q is no tree: %v", raw, err)
		} else if slow, err := readTree(tree); err != nil || len(slow) != len(entries) {
			t.Fatalf("%q: %+v by the fast way, %+v by its tree, %v", raw, entries, slow, err)
		}
		var again bytes.Buffer
		render(&again, tree)
		if fast, err := parseRead(again.Bytes()); err != nil || !reflect.DeepEqual(fast, entries) && len(fast) > 0 {
			t.Fatalf("%q read again: %+v, %v", raw, fast, err)
		}
	})
}

// checkShed: a reply of the script that is accepted has its entries in it as one of XREADGROUP would.
func checkShed(t *testing.T, raw []byte) {
	t.Helper()
	skipped, kept, err := parseShed(raw, "s")
	if err != nil {
		return
	}
	var list bytes.Buffer
	render(&list, treeOf(kept).([]any)[0].([]any)[1])
	again := fmt.Appendf(nil, "*2\r\n:%d\r\n%s", skipped, list.Bytes())
	if n, entries, err := parseShed(again, "s"); err != nil || n != skipped || !reflect.DeepEqual(entries, kept) {
		t.Fatalf("%q is %d and %+v, read again %d and %+v, %v", raw, skipped, kept, n, entries, err)
	}
}

// TestParseReadAgreesWithGoRedis reads the same entries from a real Redis both ways.
func TestParseReadAgreesWithGoRedis(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.add(50, "x", strings.Repeat("\r\n*1\r\n", 100), "", "\x00")
	b.deliver("c", 50)
	b.client.XTrimMaxLen(context.Background(), b.stream, 30) // 20 have no fields now
	args := []any{"XREADGROUP", "GROUP", testGroup, "c", "COUNT", 100, "STREAMS", b.stream, "0"}
	l := &loop{Options: &Options{}, stream: b.stream}
	raw, err := l.fetchRaw(context.Background(), b.options().Clients.Read, 0, args)
	if err != nil {
		t.Fatal(err)
	}
	if bounded, err := l.fetchRaw(context.Background(), b.options().Clients.Read, len(raw), args); err != nil || !bytes.Equal(bounded, raw) {
		t.Errorf("%q by one way, %q by the other: %v", raw, bounded, err)
	}
	if _, err := l.fetchRaw(context.Background(), b.options().Clients.Read, len(raw)-1, args); !errors.Is(err, errReplySize) || l.count != 1 {
		t.Errorf("a reply of a byte too many: %v, and then %d entries are asked for", err, l.count)
	}
	fast, err := parseRead(raw)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := fetchRedirected(context.Background(), b.options().Clients.Read, args)
	if err != nil || len(fast) != 50 || !reflect.DeepEqual(fast, slow) {
		t.Errorf("%+v and %+v, %v", fast, slow, err)
	}
}

func TestReadTreeRefusesGarbage(t *testing.T) {
	t.Parallel()
	for _, bad := range []any{
		"x", []any{}, []any{"x"}, []any{[]any{"s"}}, []any{[]any{1, []any{}}}, []any{[]any{"s", "x"}}, []any{[]any{"s", []any{nil}}},
	} {
		if got, err := readTree(bad); !errors.Is(err, errReply) {
			t.Errorf("readTree(%v) = %v, %v", bad, got, err)
		}
	}
	if got, err := readTree(nil); err != nil || got != nil {
		t.Errorf("readTree(nil) = %v, %v", got, err)
	}
}

func sampleReply(entries, fields int) []byte {
	list := make([]Entry, entries)
	for i := range list {
		list[i].ID = "1700000000000-" + strconv.Itoa(i)
		for j := range fields {
			list[i].Fields = append(list[i].Fields, "http.request.header"+strconv.Itoa(j), "a value of usual length")
		}
	}
	var raw bytes.Buffer
	render(&raw, treeOf(list))
	return raw.Bytes()
}

func TestParsingTakesTwoAllocationsAnEntry(t *testing.T) {
	raw := sampleReply(512, 10)
	allocs := testing.AllocsPerRun(10, func() {
		if _, err := parseRead(raw); err != nil {
			t.Fatal(err)
		}
	})
	if allocs/512 > 2.1 {
		t.Errorf("%.1f allocations an entry", allocs/512)
	}
}

func BenchmarkParseRead(b *testing.B) {
	raw := sampleReply(512, 10)
	b.ReportAllocs()
	for range b.N {
		if _, err := parseRead(raw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/entry")
}

// BenchmarkReadAndAck has a worker read and ack a stream of entries of ten fields;
// its handler does nothing.
func BenchmarkReadAndAck(b *testing.B) {
	bench := newBench(b)
	ctx := context.Background()
	values := make([]string, 0, 20)
	for j := range 10 {
		values = append(values, "http.request.header"+strconv.Itoa(j), "a value of usual length")
	}
	for left := b.N; left > 0; {
		pipe := bench.client.Pipeline()
		n := min(left, 1000)
		for range n {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: bench.stream, Values: values})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			b.Fatal(err)
		}
		left -= n
	}
	o := bench.options()
	o.BatchSize = DefaultBatchSize
	done := make(chan struct{})
	handled := 0
	h := &plain{func(n int) {
		if handled += n; handled == b.N {
			close(done)
		}
	}}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	w := bench.start(o, h)
	<-done
	w.cancel()
	_ = w.wait()
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/entry")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// cpuTime is the processor time this process has used, which other processes
// don't lengthen as they do the time by the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// plain is a handler that only counts.
type plain struct{ count func(n int) }

func (p *plain) Handle(_ context.Context, _ *Turn, batch []Entry) ([]Verdict, error) {
	p.count(len(batch))
	return all(batch, Done), nil
}
