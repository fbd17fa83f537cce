package ingress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/wardstream/wardstream/internal/testenv"
)

// over returns a client that opens its connections with dial, one a request.
func over(dial func(context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
}

// statusOf asks for path with header lines in pairs and returns the status of the answer.
func statusOf(t testing.TB, client *http.Client, url string, header ...string) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		r.Header.Add(header[n], header[n+1])
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "i.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close() // what a killed process leaves
	env := blocked(t)
	change := func(o *Options) {
		onRedis(env)(o)
		o.Addr, o.TrustUnix, o.SocketMode, o.FailClosedPaths = "unix:"+path, true, "0620", []string{"^/pay"}
	}
	i := start(t, change)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o620 || i.server.Addr() != "unix:"+path {
		t.Errorf("%v, %v at %s", info.Mode(), err, i.server.Addr())
	}
	client := over(func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) })
	for name, tc := range map[string]struct {
		header []string
		want   int
	}{
		"visitor":                {[]string{"X-Forwarded-For", visitor}, 200},
		"attacker":               {[]string{"X-Forwarded-For", attacker}, 429},
		"names no client":        {[]string{"X-Forwarded-Uri", "/pay"}, 429},
		"names no client, open":  {[]string{"X-Forwarded-Uri", "/x"}, 200},
		"claims to be the proxy": {[]string{"X-Forwarded-For", "@", "X-Forwarded-Uri", "/pay"}, 429},
	} {
		if got, err := statusOf(t, client, "http://x/", tc.header...); got != tc.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, tc.want)
		}
	}
	o := DefaultOptions()
	change(&o)
	if s, err := New(t.Context(), o, discard()); err == nil || !strings.Contains(err.Error(), "already in use") {
		s.Close()
		t.Errorf("a second one on the socket: %v", err)
	}
	if err := i.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after the stop: %v", err)
	}
}

// TestProxyProtocol: the source in the header is the peer; headers of HTTP count if that is trusted
// too.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.ProxyProtocol = true
	})
	ask := func(first string, header ...string) (int, error) {
		return converse(t, i.server.Addr(), first+"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", header...)
	}
	for name, tc := range map[string]struct {
		first  string
		header []string
		want   int // 0: the connection ends
	}{
		"attacker, version 1":                  {"PROXY TCP4 " + attacker + " 10.0.0.1 1 2\r\n", nil, 429},
		"attacker, version 2":                  {v2(t, proxyproto.PROXY, attacker), nil, 429},
		"visitor, version 1":                   {"PROXY TCP4 " + visitor + " 10.0.0.1 1 2\r\n", nil, 200},
		"visitor, version 2":                   {v2(t, proxyproto.PROXY, visitor), nil, 200},
		"attacker claims to be another":        {v2(t, proxyproto.PROXY, attacker), []string{"X-Forwarded-For", visitor}, 429},
		"visitor accuses himself":              {v2(t, proxyproto.PROXY, visitor), []string{"X-Forwarded-For", attacker}, 200},
		"a proxy speaks of the attacker":       {v2(t, proxyproto.PROXY, "10.0.0.9"), []string{"X-Forwarded-For", attacker}, 429},
		"the balancer itself (LOCAL)":          {v2(t, proxyproto.LOCAL, ""), []string{"X-Forwarded-For", attacker}, 429},
		"two headers, the second the client's": {"PROXY TCP4 " + attacker + " 10.0.0.1 1 2\r\nPROXY TCP4 " + visitor + " 10.0.0.1 1 2\r\n", nil, 429},
		"the client isn't known (UNKNOWN)":     {"PROXY UNKNOWN\r\n", []string{"X-Forwarded-For", visitor}, 0},
		"UNKNOWN with addresses":               {"PROXY UNKNOWN " + visitor + " 10.0.0.1 1 2\r\n", []string{"X-Forwarded-For", visitor}, 0},
		"the client isn't known (UNSPEC)":      {"\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00", []string{"X-Forwarded-For", visitor}, 0},
		"a Unix socket":                        {"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), []string{"X-Forwarded-For", visitor}, 0},
		"datagrams":                            {"\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c\xc6\x33\x64\x07\x0a\x00\x00\x01\x00\x01\x00\x02", nil, 0},
		"no header":                            {"", []string{"X-Forwarded-For", visitor}, 0},
		"an invalid address":                   {"PROXY TCP4 proxy.example 10.0.0.1 1 2\r\n", nil, 0},
		"a line without end":                   {"PROXY TCP4 " + strings.Repeat("1", 4096), nil, 0},
		"a version that isn't there":           {"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c\xc6\x33\x64\x07\x0a\x00\x00\x01\x00\x01\x00\x02", nil, 0},
	} {
		if got, err := ask(tc.first, tc.header...); got != tc.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, tc.want)
		}
	}
}

// converse sends the start of a request in one piece with header lines in pairs, and returns the
// status of the answer. A client of net/http would give up on an answer that comes before it has
// sent its request.
func converse(t testing.TB, addr, request string, header ...string) (int, error) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for n := 0; n < len(header); n += 2 {
		request += header[n] + ": " + header[n+1] + "\r\n"
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// v2 is a PROXY header of version 2.
func v2(t testing.TB, command proxyproto.ProtocolVersionAndCommand, source string) string {
	t.Helper()
	h := proxyproto.Header{Version: 2, Command: command, TransportProtocol: proxyproto.UNSPEC}
	if source != "" {
		h.TransportProtocol = proxyproto.TCPv4
		h.SourceAddr = &net.TCPAddr{IP: net.ParseIP(source), Port: 1}
		h.DestinationAddr = &net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 2}
	}
	raw, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestProxyProtocolOfUntrustedPeers: a peer that isn't trusted gets nothing, with the header or
// without.
func TestProxyProtocolOfUntrustedPeers(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.ProxyProtocol, o.TrustedProxies, o.HTTPAddr = true, []string{"10.0.0.0/8"}, "127.0.0.1:0"
	})
	for _, first := range []string{"", "PROXY TCP4 " + visitor + " 10.0.0.1 1 2\r\n"} {
		client := over(func(ctx context.Context) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", i.server.Addr())
			if err == nil {
				_, _ = io.WriteString(conn, first)
			}
			return conn, err
		})
		if got, err := statusOf(t, client, "http://x/"); err == nil {
			t.Errorf("%q: %d", first, got)
		}
	}
	if text := get(t, "http://"+i.server.HTTPAddr()+"/metrics").body; !strings.Contains(text, "wardstream_ingress_refused_connections_total 2") {
		t.Errorf("not counted in\n%s", text)
	}
}

// FuzzProxyHeader: whatever a trusted balancer sends first, a connection that is let in has a TCP
// client's address for its peer, unless the balancer says that it speaks for itself.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN\r\nGET"))
	f.Add([]byte(v2(f, proxyproto.PROXY, attacker) + "GET"))
	f.Add([]byte(v2(f, proxyproto.LOCAL, "") + "GET"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("\x00", 220)))
	f.Fuzz(func(t *testing.T, first []byte) {
		l := proxiedListener{Listener: single{sent{Reader: bytes.NewReader(first)}}, trusts: func(string) bool { return true }}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, isTCP := conn.RemoteAddr().(*net.TCPAddr)
		_, err = conn.Read(make([]byte, 1))
		if local := bytes.HasPrefix(first, []byte("\r\n\r\n\x00\r\nQUIT\n\x20")); err == nil && !isTCP && !local {
			t.Fatalf("%q is let in as %v", first, conn.RemoteAddr())
		}
	})
}

// sent is a connection on which something was sent, from a peer that has no address.
type sent struct {
	net.Conn
	io.Reader
}

func (s sent) Read(p []byte) (int, error)      { return s.Reader.Read(p) }
func (sent) RemoteAddr() net.Addr              { return &net.UnixAddr{} }
func (sent) SetReadDeadline(_ time.Time) error { return nil }

// single is a listener with one connection.
type single struct{ conn net.Conn }

func (s single) Accept() (net.Conn, error) { return s.conn, nil }
func (s single) Close() error              { return nil }
func (s single) Addr() net.Addr            { return nil }

// An authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var raw []byte
	raw, a.key = a.sign(template, nil)
	a.cert, _ = x509.ParseCertificate(raw)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	return a
}

func (a *authority) sign(template *x509.Certificate, parent *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return raw, key
}

// issue writes a certificate for 127.0.0.1 and its key, which replace what is there.
func (a *authority) issue(serial int64, certFile, keyFile string) {
	a.t.Helper()
	raw, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: raw}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

// tlsFiles are a server's certificate, key and authority.
func tlsFiles(t testing.TB, a *authority) (cert, key, ca string) {
	t.Helper()
	dir := t.TempDir()
	cert, key, ca = dir+"/tls.crt", dir+"/tls.key", dir+"/ca.crt"
	a.issue(1, cert, key)
	if err := os.WriteFile(ca, a.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, key, ca
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cert, key, ca := tlsFiles(t, a)
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.TLSCert, o.TLSKey, o.TLSClientCA, o.HTTPAddr = cert, key, ca, "127.0.0.1:0"
	})
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var serial int64
	proxy := func(own ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			RootCAs: a.pool(), Certificates: own,
			VerifyConnection: func(state tls.ConnectionState) error {
				serial = state.PeerCertificates[0].SerialNumber.Int64()
				return nil
			},
		}}}
	}
	url := "https://" + i.server.Addr() + "/"
	if got, err := statusOf(t, proxy(pair), url, "X-Forwarded-For", attacker); got != 429 || serial != 1 {
		t.Errorf("attacker: %d, %v, certificate %d", got, err, serial)
	}
	if got, err := statusOf(t, proxy(), url); err == nil {
		t.Errorf("a proxy without certificate: %d", got)
	}
	if got, err := statusOf(t, http.DefaultClient, "http://"+i.server.Addr()+"/"); got != http.StatusBadRequest {
		t.Errorf("a proxy without TLS: %d, %v", got, err)
	}
	if res := get(t, "http://"+i.server.HTTPAddr()+"/healthz"); res.status != 200 {
		t.Errorf("health: %d", res.status)
	}
	if err := os.WriteFile(cert, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if got, err := statusOf(t, proxy(pair), url); got != 200 || serial != 1 {
			t.Fatalf("with a file that can't be read: %d, %v", got, err)
		}
		if len(i.log.lines(t, "the changed certificate can't be used; the old one stays")) == 0 {
			return errors.New("it hasn't noticed")
		}
		return nil
	})
	a.issue(2, cert, key)
	testenv.Eventually(t, 30*time.Second, func() error {
		if got, err := statusOf(t, proxy(pair), url); got != 200 || serial != 2 {
			return fmt.Errorf("after the renewal: %d, certificate %d: %w", got, serial, err)
		}
		return nil
	})
}

// TestReloadCertificates: certificates are read again when asked for, whether or not their files
// look changed, and files that can't be read change nothing; without any, that is said.
func TestReloadCertificates(t *testing.T) {
	t.Parallel()
	cert, key, _ := tlsFiles(t, newAuthority(t))
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.TLSCert, o.TLSKey = cert, key
	})
	i.server.Reload()
	if got := i.log.lines(t, "read the changed certificate"); len(got) != 1 || got[0]["file"] != cert {
		t.Errorf("log lines %v", got)
	}
	if err := os.WriteFile(key, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	i.server.Reload()
	if got := i.log.lines(t, "the changed certificate can't be used; the old one stays"); len(got) != 1 {
		t.Errorf("log lines %v", got)
	}
	plain := start(t, onRedis(env))
	plain.server.Reload()
	if got := plain.log.lines(t, "SIGHUP is ignored: there are no certificates to read again, and options need a restart"); len(got) != 1 {
		t.Errorf("log lines %v", got)
	}
}

// TestMaxConnections: one more than allowed waits until another ends.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	env := blocked(t)
	i := start(t, func(o *Options) {
		onRedis(env)(o)
		o.MaxConnections = 1
	})
	first, err := net.Dial("tcp", i.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(first, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err != nil { // it has been accepted
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() { answered <- i.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") }()
	_ = first.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.Copy(io.Discard, first) // a while
	select {
	case line := <-answered:
		t.Errorf("two at once: %s", line)
	default:
	}
	_ = first.Close()
	if line := <-answered; line != "HTTP/1.1 200 OK" {
		t.Errorf("after the first has ended: %s", line)
	}
}
