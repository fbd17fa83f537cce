// Package lenienthttp is a server of HTTP/1 for the requests in which proxies ask about requests of
// their clients. A client has a say in what these look like, and an answer that the server made by
// itself (400, 413, 417, 431) would be an answer that the client chose. So every request reaches
// the handler, however malformed it is, bodies are never waited for, and nothing is redirected.
package lenienthttp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// A Server passes requests to a handler. Its fields must be set before it serves, and not be
// changed afterwards.
//
// A request that the handler gets has its method, RequestURI and, not decoded, URL.Path and
// URL.RawQuery as they came (empty where the request line has none), the address of the peer, and
// the Headers asked for. It has no body, no context of its own, and must not be kept. Of a header
// that is too long the right end is there, behind a NUL.
type Server struct {
	Handler http.Handler
	Headers []string // names of the headers that requests are given, canonical; others are skipped
	Log     *slog.Logger

	HeadTimeout  time.Duration // for the head of a request, from its first byte, and for handshakes
	WriteTimeout time.Duration // for an answer
	IdleTimeout  time.Duration // between requests

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[*conn]struct{}
	stopping  bool
	empty     chan struct{} // closed when the last connection ends after stopping
}

const (
	readBuffer = 4 << 10
	// What is still read of a connection that ends, so that the answer isn't lost to a reset (RFC
	// 9112, section 9.6).
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
	// What is still waited for on idle connections at a stop: requests that are on their way.
	stopTime = 50 * time.Millisecond

	minRetry, maxRetry = 5 * time.Millisecond, time.Second // of accepting
)

// Serve answers the connections of l, of which TLS has to be a [tls.Conn]'s, until the server is
// stopped. It always returns an error, [http.ErrServerClosed] after a stop.
func (s *Server) Serve(l net.Listener) error {
	if !s.listen(l) {
		return http.ErrServerClosed
	}
	retry := minRetry
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			retry = minRetry
			s.start(c)
			continue
		case s.isStopping():
			return http.ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err //nolint:wrapcheck // the caller knows the listener
		}
		s.Log.Error("connection can't be accepted; trying again", "error", err, "retry_in", retry.String())
		time.Sleep(retry) //nolint:forbidigo // such as for want of descriptors: nothing reports when there are some again
		retry = min(2*retry, maxRetry)
	}
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.listeners = append(s.listeners, l)
	return true
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

func (s *Server) start(nc net.Conn) {
	c := &conn{Conn: nc, server: s, idle: true}
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	go c.serve()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.stopping && len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// stop closes the listeners, and returns the connections that are there.
func (s *Server) stop() (conns []*conn, empty <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.listeners = nil
	for c := range s.conns {
		conns = append(conns, c)
	}
	if len(conns) > 0 && s.empty == nil {
		s.empty = make(chan struct{})
	}
	return conns, s.empty
}

// Shutdown accepts no more connections, ends the idle ones, and waits until the others have been
// answered or ctx ends, which is then the error.
func (s *Server) Shutdown(ctx context.Context) error {
	conns, empty := s.stop()
	for _, c := range conns {
		c.hurry()
	}
	if len(conns) == 0 {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends everything at once.
func (s *Server) Close() error {
	conns, _ := s.stop()
	for _, c := range conns {
		_ = c.Conn.Close()
	}
	return nil
}

// A conn is a connection with its goroutine.
type conn struct {
	net.Conn
	server *Server

	mu      sync.Mutex
	idle    bool // between requests
	hurried bool
}

func (c *conn) serve() {
	s := c.server
	defer s.forget(c)
	defer c.Conn.Close()
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("handler panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if !c.handshake() {
		return
	}
	r := bufio.NewReaderSize(c.Conn, readBuffer)
	x := newExchange(s.Headers, c.RemoteAddr().String())
	for timeout := s.HeadTimeout; c.await(r, timeout); timeout = s.IdleTimeout {
		if err := c.SetReadDeadline(time.Now().Add(s.HeadTimeout)); err != nil {
			return
		}
		if x.head.read(r) != nil {
			return // it is gone, or too slow to be one of ours
		}
		x.answer(s.Handler)
		again := x.head.reusable() && !s.isStopping()
		if err := c.SetWriteDeadline(time.Now().Add(s.WriteTimeout)); err != nil {
			return
		}
		if _, err := c.Write(x.response(again, time.Now())); err != nil {
			return
		}
		if !again {
			c.end(r, x.head.body)
			return
		}
	}
}

// handshake completes that of TLS, if there is to be one.
func (c *conn) handshake() bool {
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.server.HeadTimeout)
	defer cancel()
	err := t.HandshakeContext(ctx)
	if err == nil {
		return true
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && slices.Contains([]string{"GET ", "HEAD ", "POST ", "PUT ", "OPTIO"}, string(record.RecordHeader[:4])) {
		_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTPS.\n")
	}
	c.server.Log.Warn("TLS handshake failed", "peer", c.RemoteAddr().String(), "error", err)
	return false
}

// await waits for the first byte of a request.
func (c *conn) await(r *bufio.Reader, timeout time.Duration) bool {
	if !c.setIdle(true, timeout) {
		return false
	}
	if _, err := r.Peek(1); err != nil {
		return false
	}
	return c.setIdle(false, 0)
}

func (c *conn) setIdle(idle bool, timeout time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = idle
	if !idle {
		return true
	}
	if c.hurried {
		timeout = min(timeout, stopTime)
	}
	return c.SetReadDeadline(time.Now().Add(timeout)) == nil
}

// hurry has a connection that is idle end soon.
func (c *conn) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurried = true
	if c.idle {
		_ = c.SetReadDeadline(time.Now().Add(stopTime))
	}
}

// end closes the connection after an answer. What the client still sends is read for a while:
// closing with bytes unread may reset the connection before the client has the answer.
func (c *conn) end(r *bufio.Reader, body bool) {
	if !body && r.Buffered() == 0 {
		return
	}
	closeWrite(c.Conn)
	if c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		discard(r, lingerBytes)
	}
}

// closeWrite says that nothing more will be sent, where the connection can say so.
func closeWrite(c net.Conn) {
	switch c := c.(type) {
	case interface{ CloseWrite() error }:
		_ = c.CloseWrite()
	case interface{ Raw() net.Conn }: // of the PROXY protocol
		closeWrite(c.Raw())
	}
}
