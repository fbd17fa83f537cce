// Package certfile reads certificates from PEM files, for clients and for servers alike.
package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
)

var errNoCertificate = errors.New("holds no certificate in PEM form")

// Pair returns the certificate and key of two files. Errors name no path: the caller knows which
// setting named it.
func Pair(certFile, keyFile string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	return pair, withoutPath(err)
}

// Authorities returns the certificates of a file, as those that may sign others. Errors name no
// path.
func Authorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, &unreadableError{withoutPath(err)}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errNoCertificate
	}
	return pool, nil
}

// An unreadableError is of a file that can't be read at all.
type unreadableError struct{ cause error }

func (e *unreadableError) Error() string { return "can't be read: " + e.cause.Error() }
func (e *unreadableError) Unwrap() error { return e.cause }

func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
