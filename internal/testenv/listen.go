package testenv

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Listen calls serve, each time in a goroutine of its own, with every connection to a free loopback
// port, and returns its address, host:port. The listener and the connections are closed at the
// test's end.
func Listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	conns := []io.Closer{l}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			go serve(conn)
		}
	}()
	return l.Addr().String()
}

// Silent returns the address of a server that accepts connections, reads what comes and never
// answers.
func Silent(t testing.TB) string {
	t.Helper()
	return Listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
}

// ClosedPort returns an address on which nothing listens.
func ClosedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
