package redisurl

import (
	"crypto/tls"
	"strings"

	"github.com/wardstream/wardstream/internal/certfile"
)

// TLS adds to a rediss URL what the URL can't say. Paths are of PEM files; empty ones leave the
// default.
type TLS struct {
	CAFile            string // authorities that may sign the server's certificate, instead of the system's
	CertFile, KeyFile string // of the client
	ServerName        string // that the server's certificate must have, if not that of its host
}

// A TLSError says which part of a [TLS] can't be used, and why.
type TLSError struct {
	Part   string // ca_file, cert_file, key_file; "" is the whole
	Reason string
}

func (e *TLSError) Error() string { return strings.TrimPrefix(e.Part+": "+e.Reason, ": ") }

// Config returns the configuration for the URL: nil if t says nothing. It reads the files anew.
// Errors are of type [TLSError], and repeat nothing of the URL.
func (t TLS) Config(rawURL string) (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	if !UsesTLS(rawURL) {
		return nil, &TLSError{"", "needs a URL that begins with rediss"}
	}
	if strings.Contains(rawURL, "skip_verify=") {
		return nil, &TLSError{"", "can't go with skip_verify in the URL; leave one out"}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if err := t.readCA(c); err != nil {
		return nil, err
	}
	if err := t.readCert(c); err != nil {
		return nil, err
	}
	return c, nil
}

func (t TLS) readCA(c *tls.Config) error {
	if t.CAFile == "" {
		return nil
	}
	pool, err := certfile.Authorities(t.CAFile)
	if err != nil {
		return &TLSError{"ca_file", err.Error()}
	}
	c.RootCAs = pool
	return nil
}

func (t TLS) readCert(c *tls.Config) error {
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return nil
	case t.KeyFile == "":
		return &TLSError{"cert_file", "needs a key_file; set both"}
	case t.CertFile == "":
		return &TLSError{"key_file", "needs a cert_file; set both"}
	}
	cert, err := certfile.Pair(t.CertFile, t.KeyFile)
	if err != nil {
		return &TLSError{"cert_file", "can't be used with the key_file: " + err.Error()}
	}
	c.Certificates = []tls.Certificate{cert}
	return nil
}
