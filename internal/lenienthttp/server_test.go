package lenienthttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve runs a server with a handler until the test ends.
func serve(t *testing.T, h http.HandlerFunc) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: h, Headers: []string{"X-A"}, Log: slog.New(slog.DiscardHandler), HeadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
	})
	return s, l.Addr().String()
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Saw", r.Method+" "+r.RequestURI+" "+strings.Join(r.Header["X-A"], "|"))
	_, _ = io.WriteString(w, "path "+r.URL.Path)
}

// dial connects, with a deadline for the whole test.
func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads an answer to a request with the method.
func answer(t *testing.T, r *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestServerKeepsConnections(t *testing.T) {
	t.Parallel()
	_, addr := serve(t, echo)
	c, r := dial(t, addr)
	send(t, c, "GET /1 HTTP/1.1\r\nX-A: a\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /4?q HTTP/1.1\r\nX-A: a\r\nX-A: b\r\nConnection: close\r\n\r\n")
	for _, want := range []struct{ method, saw, body, connection string }{
		{"GET", "GET /1 a", "path /1", ""}, {"HEAD", "HEAD /2", "", ""}, {"GET", "GET /3", "path /3", "keep-alive"}, {"GET", "GET /4?q a|b", "path /4", ""},
	} {
		res, body := answer(t, r, want.method) //nolint:bodyclose // answer has read it
		if res.StatusCode != 200 || res.Header.Get("X-Saw") != want.saw || body != want.body || res.Header.Get("Connection") != want.connection ||
			res.ContentLength != 7 || res.Header.Get("Date") == "" || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %v %q", want.saw, res, body)
		}
		if res.Close != strings.HasPrefix(want.saw, "GET /4") {
			t.Errorf("%s: ends the connection: %v", want.saw, res.Close)
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

// TestServerDoesNotWaitForBody: the response does not wait for the body. The connection ends after
// it, since the start of the next request is unknown.
func TestServerDoesNotWaitForBody(t *testing.T) {
	t.Parallel()
	_, addr := serve(t, echo)
	for _, request := range []string{
		"POST / HTTP/1.1\r\nContent-Length: 77\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 77\r\n\r\nhello", "POST / HTTP/1.0\r\nContent-Length: 77\r\nConnection: keep-alive\r\n\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "GET / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
		"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("a", 200_000),
	} {
		c, r := dial(t, addr)
		send(t, c, request)
		res, body := answer(t, r, "POST") //nolint:bodyclose // answer has read it
		if res.StatusCode != 200 || body != "path /" || !res.Close {
			t.Errorf("%.60q: %v %q", request, res, body)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
			t.Errorf("%.60q: then %q, %v", request, rest, err)
		}
	}
}

func TestServerAnswers(t *testing.T) {
	t.Parallel()
	_, addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/nothing":
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/twice":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTooManyRequests)
			w.WriteHeader(http.StatusOK)
		case "/inject":
			w.Header().Set("X-Text", "a\r\nX-Evil: b")
		case "/large":
			_, _ = w.Write(bytes.Repeat([]byte("a"), 1<<20))
		}
	})
	c, r := dial(t, addr)
	for path, status := range map[string]int{"/nothing": 200, "/none": 204, "/twice": 429, "/inject": 200, "/large": 200} {
		send(t, c, "GET "+path+" HTTP/1.1\r\n\r\n")
		res, body := answer(t, r, "GET") //nolint:bodyclose // answer has read it
		if res.StatusCode != status || res.Header.Get("X-Evil") != "" || path == "/large" && len(body) != 1<<20 || path != "/large" && body != "" {
			t.Errorf("%s: %v, %d bytes", path, res, len(body))
		}
	}
}

// TestServerSurvivesPanic: it ends the connection, not the server.
func TestServerSurvivesPanic(t *testing.T) {
	t.Parallel()
	_, addr := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("a fault")
		}
	})
	c, r := dial(t, addr)
	send(t, c, "GET /panic HTTP/1.1\r\n\r\n")
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a panic is answered: %v", err)
	}
	c, r = dial(t, addr)
	send(t, c, "GET / HTTP/1.1\r\n\r\n")
	if res, _ := answer(t, r, "GET"); res.StatusCode != 200 { //nolint:bodyclose // answer has read it
		t.Errorf("afterwards: %v", res)
	}
}

// TestServerTimesOut: a client that sends its request slowly, or none, is disconnected.
func TestServerTimesOut(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: http.HandlerFunc(echo), Log: slog.New(slog.DiscardHandler), HeadTimeout: 50 * time.Millisecond, WriteTimeout: time.Minute, IdleTimeout: 50 * time.Millisecond}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	for _, start := range []string{"", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nX-A: a"} {
		c, r := dial(t, l.Addr().String())
		send(t, c, start)
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after %q: %v", start, err)
		}
	}
}

// TestServerShutsDown: idle connections end, what is under way is answered first, and nothing new
// is taken.
func TestServerShutsDown(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	s, addr := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			close(asked)
			<-release
		}
	})
	idle, idleReader := dial(t, addr)
	send(t, idle, "GET / HTTP/1.1\r\n\r\n")
	answer(t, idleReader, "GET") //nolint:bodyclose // answer has read it
	busy, busyReader := dial(t, addr)
	send(t, busy, "GET /wait HTTP/1.1\r\n\r\n")
	<-asked
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a stop that may take no time: %v", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	if _, err := idleReader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	default:
	}
	close(release)
	if res, _ := answer(t, busyReader, "GET"); res.StatusCode != 200 || !res.Close { //nolint:bodyclose // answer has read it
		t.Errorf("the request under way: %v", res)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
