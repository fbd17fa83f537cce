package ingress

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/pires/go-proxyproto"
)

const unixPrefix = "unix:"

func isUnix(addr string) bool { return strings.HasPrefix(addr, unixPrefix) }

// listen opens addr, host:port or unix:/path, for o.MaxConnections at a time.
func listen(addr string, o *Options) (net.Listener, error) {
	path, ok := strings.CutPrefix(addr, unixPrefix)
	var l net.Listener
	var err error
	if ok {
		l, err = listenUnix(path, o.SocketMode)
	} else {
		l, err = net.Listen("tcp", addr)
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the flag, net the address
	}
	return limitConnections(l, o.MaxConnections), nil
}

// listenUnix takes the place of a socket that a process left behind, not of one at which a process
// answers. Until its mode is set the umask keeps others out.
func listenUnix(path, mode string) (net.Listener, error) {
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return nil, fmt.Errorf("read mode %q: %w", mode, err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		if conn, err := net.Dial("unix", path); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("listen on %s: the socket is already in use", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove a socket left behind: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err //nolint:wrapcheck // net names the path
	}
	if err := os.Chmod(path, os.FileMode(bits)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("set the socket's mode: %w", err)
	}
	return l, nil
}

// A proxiedListener accepts connections that begin with a PROXY protocol header (version 1 or
// 2), from trusted peers alone: all others are disconnected at once, header or not. The
// header's source is the connection's remote address then.
type proxiedListener struct {
	net.Listener
	trusts  func(remote string) bool
	refused func()
}

func (l proxiedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // servers look at its type
		}
		if l.trusts(conn.RemoteAddr().String()) {
			return proxyproto.NewConn(conn, proxyproto.WithPolicy(proxyproto.REQUIRE),
				proxyproto.ValidateHeader(checkSource), proxyproto.SetReadHeaderTimeout(headerTimeout)), nil
		}
		l.refused()
		_ = conn.Close()
	}
}

var errNoSource = errors.New("the PROXY header names no TCP client")

// checkSource lets a header pass that names a client with an address, or that says the proxy speaks
// for itself (LOCAL of version 2, as in health checks). Where it says that it doesn't know the
// client (UNKNOWN, UNSPEC, a Unix socket) the proxy would be taken for it, and believed.
func checkSource(h *proxyproto.Header) error {
	if h.Version == 2 && h.Command.IsLocal() {
		return nil
	}
	if _, ok := h.SourceAddr.(*net.TCPAddr); !ok || h.TransportProtocol.IsUnspec() {
		return errNoSource
	}
	return nil
}

// proxied says who the proxies on a listener are, and the protocol they speak within TLS.
type proxied struct {
	clients  clients
	protocol string
}

// wrap adds to a listener for proxies what the options ask for.
func (s *Server) wrap(l net.Listener, o *Options, as *proxied) (net.Listener, error) {
	if o.ProxyProtocol {
		l = proxiedListener{Listener: l, trusts: func(remote string) bool { return as.clients.peer(remote).trusted }, refused: s.metrics.refused.Inc}
	}
	if o.TLSCert == "" {
		return l, nil
	}
	certs, err := newCertificates(o, as.protocol, s.log)
	if err != nil {
		return nil, err
	}
	s.certificates = append(s.certificates, certs)
	return tls.NewListener(l, certs.config()), nil
}
