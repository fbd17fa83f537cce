package lenienthttp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// parsed reads a head of which X-A and X-B are wanted.
func parsed(t testing.TB, text string) (h *head, rest string, err error) {
	t.Helper()
	r := bufio.NewReaderSize(strings.NewReader(text), 64) // so that most lines come in pieces
	h = newHead([]string{"X-A", "X-B"})
	if err = h.read(r); err != nil {
		return h, "", err
	}
	left, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return h, string(left), nil
}

func TestRequestLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		method, target string
		minor          int
		reusable       bool
	}{
		"GET /a?b HTTP/1.1":            {"GET", "/a?b", 1, true},
		"GET /a HTTP/1.0":              {"GET", "/a", 0, false},
		"GET /a HTTP/1.7":              {"GET", "/a", 1, true},
		"GET /a HTTP/2.0":              {"GET", "/a", 1, false},
		"GET /a":                       {"GET", "/a", 1, false},
		"GET":                          {"GET", "", 1, false},
		"GET HTTP/1.1":                 {"GET", "", 1, true},
		"GET /a b c HTTP/1.1":          {"GET", "/a b c", 1, true},
		"GET /100%\x01\xff HTTP/1.1":   {"GET", "/100%\x01\xff", 1, true},
		"OPTIONS * HTTP/1.1":           {"OPTIONS", "*", 1, true},
		"CONNECT h:443 HTTP/1.1":       {"CONNECT", "h:443", 1, true},
		"GET http://h/a?b HTTP/1.1":    {"GET", "/a?b", 1, true},
		"GET http://h HTTP/1.1":        {"GET", "/", 1, true},
		"GET http://h?b/c HTTP/1.1":    {"GET", "/?b/c", 1, true},
		"GET /a?u=http://h/b HTTP/1.1": {"GET", "/a?u=http://h/b", 1, true},
		"GET  /two/blanks  HTTP/1.1":   {"GET", " /two/blanks ", 1, true},
		"GET /" + strings.Repeat("a", maxTarget) + " HTTP/1.1": {"GET", "/" + strings.Repeat("a", maxTarget-5) + "%", 1, false},
	} {
		h, rest, err := parsed(t, line+"\r\n\r\nnext")
		if err != nil || h.method != want.method || h.target != want.target || h.minor != want.minor || h.reusable() != want.reusable || rest != "next" {
			t.Errorf("%.60q: %q %.60q 1.%d reusable %v, rest %q, %v", line, h.method, h.target, h.minor, h.reusable(), rest, err)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("1, ", maxValues)
	for name, tc := range map[string]struct {
		text string
		want []string // of X-A
	}{
		"none":                          {"X-B: b\r\n", nil},
		"one":                           {"X-A: a b \r\n", []string{"a b"}},
		"in any case":                   {"x-a:a\r\nX-a:\tb\r\n", []string{"a", "b"}},
		"line feeds alone":              {"X-A: a\nX-B: b\n", []string{"a"}},
		"empty":                         {"X-A:\r\n", []string{""}},
		"folded":                        {"X-A: a\r\n b\r\n\tc\r\nX-B: d\r\n", []string{"a b\tc"}},
		"another, folded":               {"X-C: a\r\n X-A: b\r\nX-A: c\r\n", []string{"c"}},
		"folded at the start":           {" X-A: a\r\nX-A: b\r\n", []string{"b"}},
		"a blank before the colon":      {"X-A : a\r\n", nil},
		"an underscore":                 {"X_A: a\r\n", nil},
		"no colon":                      {"X-A\r\nX-A: a\r\n", []string{"a"}},
		"no name":                       {": a\r\n", nil},
		"carriage returns in between":   {"X-B: a\rX-A: b\r\nX-A: c\rd\r\n", []string{"c\rd"}},
		"control characters":            {"X-A: a\x00\x01\xff\r\n", []string{"a\x00\x01\xff"}},
		"a long one loses its left end": {"X-A: " + long + "7\r\n", []string{elided + (long + "7")[len(long)+1-maxValues:]}},
		"long folds, too":               {"X-A: " + strings.Repeat("1,\r\n ", maxValues) + "7\r\n", nil},
		"long ones that are not kept":   {"X-C: " + long + "\r\nX-A: a\r\n", []string{"a"}},
	} {
		h, rest, err := parsed(t, "GET / HTTP/1.1\r\n"+tc.text+"\r\nnext")
		if err != nil || rest != "next" {
			t.Errorf("%s: rest %.20q, %v", name, rest, err)
		}
		got := h.fields[0].lines
		if name == "long folds, too" {
			if len(got) != 1 || len(got[0]) != maxValues+1 || got[0][0] != 0 || !strings.HasSuffix(got[0], "1, 7") {
				t.Errorf("%s: %d lines", name, len(got))
			}
			continue
		}
		if len(got) != len(tc.want) || len(got) > 0 && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %.60q, want %.60q", name, got, tc.want)
		}
	}
}

// TestFieldsTooManyLinesKeepsLast: of too many lines the last stay, and that there were others
// stays visible.
func TestFieldsTooManyLinesKeepsLast(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 400, 100_000} {
		h, _, err := parsed(t, "GET / HTTP/1.1\r\n"+strings.Repeat("X-A: 6.6.6.6\r\n", n)+"X-A: last\r\n\r\n")
		lines := h.fields[0].lines
		if err != nil || lines[len(lines)-1] != "last" || lines[len(lines)-2] != "6.6.6.6" || len(lines) > 1000 {
			t.Errorf("%d lines: %d kept, %v", n, len(lines), err)
		}
	}
	h, _, err := parsed(t, "GET / HTTP/1.1\r\nX-A: good\r\nX-A: "+strings.Repeat("a", maxValues)+"\r\n\r\n")
	if lines := h.fields[0].lines; err != nil || len(lines) != 2 {
		t.Errorf("a long line hides another: %d, %v", len(lines), err)
	}
}

func TestConnectionIsReusable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"1.1\r\n": true, "1.1\r\nConnection: close\r\n": false, "1.1\r\nConnection: X-A, Close\r\n": false, "1.1\r\nConnection: keep-alive\r\n": true,
		"1.0\r\n": false, "1.0\r\nConnection: Keep-Alive\r\n": true, "1.0\r\nConnection: keep-alive, close\r\n": false,
		"1.1\r\nContent-Length: 0\r\n": true, "1.1\r\nContent-Length: 77\r\n": false, "1.1\r\nContent-Length: x\r\n": false, "1.1\r\nContent-Length:\r\n": false,
		"1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n": false, "1.1\r\nTransfer-Encoding: chunked\r\n": false, "1.1\r\ntransfer-encoding: x\r\n": false,
		"1.1\r\nContent-Length:\r\n 77\r\n": false, "1.1\r\nX-Connection: close\r\n": true,
	} {
		if h, _, err := parsed(t, "GET / HTTP/"+text+"\r\n"); err != nil || h.reusable() != want {
			t.Errorf("%q: %v, %v", text, h.reusable(), err)
		}
	}
}

// TestHeadWithoutEndIsRefused: one that breaks off is not a request, and one that doesn't is given
// up at some size.
func TestHeadWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nX-A: a\r\n", "GET / HTTP/1.1\r\nX-A: a\r\n b"} {
		if _, _, err := parsed(t, text); !errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for name, line := range map[string]string{"a line": strings.Repeat("a", 1000), "lines": "X-A: " + strings.Repeat("a", 1000) + "\r\n", "folds": " " + strings.Repeat("a", 1000) + "\n"} {
		h, _, err := parsed(t, "GET /nginx HTTP/1.1\r\nX-A: a\r\n"+strings.Repeat(line, maxHead/1000+1))
		if err != nil || h.target != "/nginx" || h.reusable() || len(h.fields[0].lines) != 0 {
			t.Errorf("%s: %q, reusable %v, %q, %v", name, h.target, h.reusable(), h.fields[0].lines, err)
		}
	}
}

// sameValue: where the left end is cut may depend on the pieces, and nothing else.
func sameValue(a, b string) bool {
	left, cutA := strings.CutPrefix(a, elided)
	right, cutB := strings.CutPrefix(b, elided)
	if cutA || cutB {
		return strings.HasSuffix(left, right) || strings.HasSuffix(right, left)
	}
	return a == b
}

// FuzzHead: whatever comes, reading ends, keeps little, leaves what is behind the head alone, and
// doesn't depend on what was read before or in which pieces it comes.
func FuzzHead(f *testing.F) {
	f.Add([]byte("GET /a?b HTTP/1.1\r\nHost: x\r\nX-A: 1, 2\r\n 3\r\nX-B: \x00\r\nContent-Length: 7\r\n\r\nnext"))
	f.Add([]byte("\r\nGET http://h HTTP/1.0\nconnection: keep-alive\nx-a : 1\n\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nX-A: " + strings.Repeat("a", 2*maxValues) + "\r\n\r\n"))
	used := newHead([]string{"X-A", "X-B"})
	f.Fuzz(func(t *testing.T, text []byte) {
		fresh := newHead([]string{"X-A", "X-B"})
		pieces, whole := bufio.NewReaderSize(bytes.NewReader(text), 16), bufio.NewReaderSize(bytes.NewReader(text), 1<<20)
		errs := [2]error{fresh.read(pieces), used.read(whole)}
		if (errs[0] == nil) != (errs[1] == nil) {
			t.Fatalf("errors %v, %v", errs[0], errs[1])
		}
		if errs[0] != nil {
			return
		}
		for i, f := range fresh.fields {
			if !slices.EqualFunc(f.lines, used.fields[i].lines, sameValue) {
				t.Fatalf("%s: %.200q and %.200q", f.name, f.lines, used.fields[i].lines)
			}
			if size := len(strings.Join(f.lines, "")); size > maxValues+3*lineCost {
				t.Fatalf("%s: %d bytes are kept", f.name, size)
			}
		}
		if fresh.method != used.method || fresh.target != used.target || fresh.reusable() != used.reusable() || len(fresh.target) > maxTarget+1 {
			t.Fatalf("%q %q, %q %q", fresh.method, fresh.target, used.method, used.target)
		}
		rest, _ := io.ReadAll(pieces)
		if other, _ := io.ReadAll(whole); !bytes.Equal(rest, other) || !bytes.HasSuffix(text, rest) {
			t.Fatalf("rest %q and %q", rest, other)
		}
	})
}
