package testenv

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// A Name is an address that leads to one server after the other, as a name of DNS or a virtual
// address does after a failover. Connections that were made stay with the server that they were
// made to.
type Name struct {
	Addr string // host:port

	to atomic.Pointer[string]
}

// NewName returns a Name that leads to the server at addr, until the test ends.
func NewName(t testing.TB, addr string) *Name {
	t.Helper()
	n := &Name{}
	n.LeadTo(addr)
	n.Addr = Listen(t, n.serve)
	return n
}

// LeadTo has connections made from now on go to addr.
func (n *Name) LeadTo(addr string) { n.to.Store(&addr) }

func (n *Name) serve(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", *n.to.Load())
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, conn)
		_ = server.Close()
	}()
	_, _ = io.Copy(conn, server)
}
