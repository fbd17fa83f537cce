package ingress

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/wardstream/wardstream/internal/certfile"
)

// lookAgain is how often the certificate's files are looked at, when there are handshakes.
const lookAgain = time.Second

// certificates is a TLS configuration read from files, and read again once they change, so that
// renewing a certificate takes no restart. Files that can't be read then change nothing.
type certificates struct {
	cert, key, clientCA string
	protocol            string // for ALPN
	log                 *slog.Logger
	now                 func() time.Time

	mu      sync.Mutex
	looked  time.Time
	stamp   string // of the files as they were last read
	current *tls.Config
}

func newCertificates(o *Options, protocol string, log *slog.Logger) (*certificates, error) {
	c := &certificates{cert: o.TLSCert, key: o.TLSKey, clientCA: o.TLSClientCA, protocol: protocol, log: log, now: time.Now}
	c.stamp = c.stamps()
	var err error
	if c.current, err = c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// config returns the configuration for a listener.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.latest(), nil
		},
	}
}

func (c *certificates) latest() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookAgain {
		c.looked = now
		if stamp := c.stamps(); stamp != c.stamp {
			c.stamp = stamp
			c.reload()
		}
	}
	return c.current
}

// reloadNow reads the files again, changed or not, and logs it.
func (c *certificates) reloadNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked, c.stamp = c.now(), c.stamps()
	c.reload()
}

func (c *certificates) reload() {
	loaded, err := c.load()
	if err != nil {
		c.log.Error("the changed certificate can't be used; the old one stays", "error", err)
		return
	}
	c.current = loaded
	c.log.Info("read the changed certificate", "file", c.cert)
}

// stamps distinguishes states of the files.
func (c *certificates) stamps() string {
	stamp := ""
	for _, file := range []string{c.cert, c.key, c.clientCA} {
		if info, err := os.Stat(file); err == nil {
			stamp += fmt.Sprintf("%d %d\n", info.ModTime().UnixNano(), info.Size())
		}
	}
	return stamp
}

func (c *certificates) load() (*tls.Config, error) {
	pair, err := certfile.Pair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", c.cert, c.key, err)
	}
	loaded := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{c.protocol}}
	if c.clientCA == "" {
		return loaded, nil
	}
	if loaded.ClientCAs, err = certfile.Authorities(c.clientCA); err != nil {
		return nil, fmt.Errorf("--tls-client-ca %s: %w", c.clientCA, err)
	}
	loaded.ClientAuth = tls.RequireAndVerifyClientCert
	return loaded, nil
}
