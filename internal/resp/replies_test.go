package resp

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"testing"
)

const goodRead = "*1\r\n*2\r\n$1\r\ns\r\n*3\r\n" +
	"*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$0\r\n\r\n$2\r\nbc\r\n$4\r\n\r\n$1\r\n" +
	"*2\r\n$3\r\n2-0\r\n*-1\r\n" +
	"*2\r\n$3\r\n3-1\r\n*2\r\n$1\r\nx\r\n$3\r\n\x00\xff\n\r\n"

func TestReadGroup(t *testing.T) {
	t.Parallel()
	got, err := ReadGroup([]byte(goodRead))
	want := []Entry{
		{ID: "1-0", Fields: []string{"a", "", "bc", "\r\n$1"}},
		{ID: "2-0"},
		{ID: "3-1", Fields: []string{"x", "\x00\xff\n"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parsed %+v, %v", got, err)
	}
	for _, nothing := range []string{"*-1\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"} {
		if got, err := ReadGroup([]byte(nothing)); err != nil || len(got) != 0 {
			t.Errorf("ReadGroup(%q) = %v, %v", nothing, got, err)
		}
	}
	if _, err := ReadGroup([]byte("-NOGROUP No such key\r\n")); !IsError(err, "NOGROUP") || err.Error() != "NOGROUP No such key" {
		t.Errorf("an error reply is %v", err)
	}
}

func TestReadGroupRefusesMalformed(t *testing.T) {
	t.Parallel()
	for i := range len(goodRead) {
		if got, err := ReadGroup([]byte(goodRead[:i])); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes of a reply: %v, %v", i, got, err)
		}
	}
	for _, bad := range []string{
		goodRead + "x", "*2\r\n", "*0\r\n", "$-1\r\n", ":1\r\n", "*1\r\n-ERR x\r\n", "*-2\r\n", "*1x\r\n", "*\r\n", "*1\n",
		"*99999999999999999999999999\r\n", "*1\r\n*1\r\n$1\r\ns\r\n", "*1\r\n*-1\r\n", "*1\r\n*2\r\n$-1\r\n*0\r\n",
		"*1\r\n*2\r\n$1\r\ns\r\n*1000000000\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*1\r\n$1\r\na\r\n",
		"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*3\r\n$3\r\n1-0\r\n*0\r\n", "*1\r\n*2\r\n$9999999\r\ns\r\n*0\r\n", "*1\r\n*2\r\n$1\r\nsX\r*0\r\n",
		"*1\r\n*2\r\n$1\r\ns\r\n*-1\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*-1\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n$-1\r\n",
		"*1\r\n*2\r\n:1\r\n*0\r\n", "*1\r\n*2\r\n$1\r\ns\r\n$1\r\nx\r\n",
	} {
		if got, err := ReadGroup([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("ReadGroup(%q) = %v, %v", bad, got, err)
		}
	}
}

// encoded returns the bytes of a reply.
func encoded(t testing.TB, reply any) []byte {
	t.Helper()
	var raw bytes.Buffer
	if err := encode(&raw, reply); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func TestRange(t *testing.T) {
	t.Parallel()
	got, err := Range(encoded(t, []any{[]any{"1-0", []any{"a", "b", "a", "c"}}}))
	if want := []Entry{{ID: "1-0", Fields: []string{"a", "b", "a", "c"}}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Range = %+v, %v", got, err)
	}
	for _, bad := range []any{nil, "x", []any{nil}, []any{"x"}, []any{[]any{"1-0"}}, int64(1)} {
		if got, err := Range(encoded(t, bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("Range(%v) = %v, %v", bad, got, err)
		}
	}
}

// TestAutoClaimReadsRedis62Replies reads what that version replies for entries that were trimmed
// while pending, which no later one does.
func TestAutoClaimReadsRedis62Replies(t *testing.T) {
	t.Parallel()
	reply, err := AutoClaim(encoded(t, []any{"0-0", []any{nil, []any{"5-1", []any{"a", "b"}}, nil}}))
	want := Claimed{Cursor: "0-0", Absent: 2, Entries: []Entry{{ID: "5-1", Fields: []string{"a", "b"}}}}
	if err != nil || !reflect.DeepEqual(reply, want) {
		t.Errorf("reply is %+v, %v", reply, err)
	}
}

func TestAutoClaimRefusesMalformed(t *testing.T) {
	t.Parallel()
	deleted := []any{"3-0", []any{}, []any{"1-1", "2-2"}}
	want := Claimed{Cursor: "3-0", Entries: []Entry{}, Deleted: []string{"1-1", "2-2"}}
	for _, good := range []any{deleted, append(deleted[:3:3], []any{int64(1)})} {
		if reply, err := AutoClaim(encoded(t, good)); err != nil || !reflect.DeepEqual(reply, want) {
			t.Errorf("reply is %+v, %v", reply, err)
		}
	}
	for _, bad := range []any{
		nil, "x",
		[]any{},
		[]any{"0-0"},
		[]any{int64(1), []any{}},
		[]any{"0-0", "x"},
		[]any{"0-0", []any{"x"}},
		[]any{"0-0", []any{[]any{"1-1"}}},
		[]any{"0-0", []any{[]any{int64(1), []any{}}}},
		[]any{"0-0", []any{[]any{"1-1", []any{"a"}}}},
		[]any{"0-0", []any{}, "x"},
		[]any{"0-0", []any{}, []any{int64(1)}},
	} {
		if reply, err := AutoClaim(encoded(t, bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("AutoClaim(%v) = %+v, %v", bad, reply, err)
		}
	}
	if _, err := AutoClaim(append(encoded(t, deleted), "x"...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("bytes that follow the reply: %v", err)
	}
}

func TestCountAndEntries(t *testing.T) {
	t.Parallel()
	const good = "*2\r\n:7\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
	n, entries, err := CountAndEntries([]byte(good))
	if want := []Entry{{ID: "1-0", Fields: []string{"a", "b"}}}; err != nil || n != 7 || !reflect.DeepEqual(entries, want) {
		t.Errorf("%d and %+v, %v", n, entries, err)
	}
	if n, entries, err := CountAndEntries([]byte("*2\r\n:0\r\n*0\r\n")); err != nil || n != 0 || len(entries) != 0 {
		t.Errorf("of nothing: %d, %+v, %v", n, entries, err)
	}
	if _, _, err := CountAndEntries([]byte("-NOSCRIPT No matching script.\r\n")); !IsError(err, "NOSCRIPT") {
		t.Errorf("an error reply is %v", err)
	}
	bad := []string{good + "x", "*-1\r\n", "*1\r\n:1\r\n", "*2\r\n:-1\r\n*0\r\n", "*2\r\n$1\r\n1\r\n*0\r\n", "*2\r\n:1\r\n*-1\r\n", ":1\r\n"}
	for i := range len(good) {
		bad = append(bad, good[:i])
	}
	for _, raw := range bad {
		if n, entries, err := CountAndEntries([]byte(raw)); !errors.Is(err, ErrMalformed) {
			t.Errorf("CountAndEntries(%q) = %d, %+v, %v", raw, n, entries, err)
		}
	}
}

func TestIsError(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		code string
		want bool
	}{
		{fmt.Errorf("read: %w", Error("NOGROUP No such key")), "NOGROUP", true},
		{Error("ERR x"), "", true},
		{Error("ERR x"), "NOGROUP", false},
		{errors.New("NOGROUP"), "NOGROUP", false},
		{nil, "", false},
	} {
		if got := IsError(tc.err, tc.code); got != tc.want {
			t.Errorf("IsError(%v, %q) = %t", tc.err, tc.code, got)
		}
	}
}

// sampleRead returns a reply of XREADGROUP with entries of usual size.
func sampleRead(t testing.TB, entries, fields int) []byte {
	list := make([]any, entries)
	for i := range list {
		var texts []any
		for j := range fields {
			texts = append(texts, "http.request.header"+strconv.Itoa(j), "a value of usual length")
		}
		list[i] = []any{"1700000000000-" + strconv.Itoa(i), texts}
	}
	return encoded(t, []any{[]any{"s", list}})
}

func TestReadGroupAllocatesTwicePerEntry(t *testing.T) {
	raw := sampleRead(t, 512, 10)
	allocs := testing.AllocsPerRun(10, func() {
		if _, err := ReadGroup(raw); err != nil {
			t.Fatal(err)
		}
	})
	if allocs/512 > 2.1 {
		t.Errorf("%.1f allocations an entry", allocs/512)
	}
}

func BenchmarkReadGroup(b *testing.B) {
	raw := sampleRead(b, 512, 10)
	b.ReportAllocs()
	for range b.N {
		if _, err := ReadGroup(raw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/512, "ns/entry")
}
