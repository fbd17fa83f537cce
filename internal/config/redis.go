package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/wardstream/wardstream/internal/redisurl"
)

// A keyError says which key can't be used, and why.
type keyError struct{ key, reason string }

func (e *keyError) Error() string { return e.key + ": " + e.reason }

const redisForm = "redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path, redis+cluster://host1,host2, redis+sentinel://host1,host2/master)"

// checkRedis refuses a URL or TLS files that can't be used. The reasons never
// repeat the URL.
func (v *validator) checkRedis() {
	r := v.c.Redis
	if r.URL == "" {
		v.refuse("redis.url", "is empty; write %s", redisForm)
		return
	}
	_, ok := r.URL.parse("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
	if _, err := redisurl.Parse(string(r.URL)); !ok || err != nil {
		v.refuse("redis.url", "is no Redis URL; write %s and percent-encode special characters of the password", redisForm)
		return
	}
	var wrong *keyError
	if _, err := r.TLSConfig(); errors.As(err, &wrong) {
		v.refuse(wrong.key, "%s", wrong.reason)
	}
}

// TLSConfig returns what redis.tls makes of TLS: what takes the place of the
// URL's own configuration. Without redis.tls it is nil. It reads the files anew.
func (r Redis) TLSConfig() (*tls.Config, error) {
	t := r.TLS
	if t == (RedisTLS{}) {
		return nil, nil
	}
	if !strings.HasPrefix(string(r.URL), "rediss") {
		return nil, &keyError{"redis.tls", "needs a redis.url that begins with rediss"}
	}
	if strings.Contains(string(r.URL), "skip_verify=") {
		return nil, &keyError{"redis.tls", "can't go with skip_verify in redis.url; leave one out"}
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

func (t RedisTLS) readCA(c *tls.Config) error {
	if t.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return &keyError{"redis.tls.ca_file", "can't be read: " + reasonOf(err)}
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return &keyError{"redis.tls.ca_file", "holds no certificate in PEM form"}
	}
	return nil
}

func (t RedisTLS) readCert(c *tls.Config) error {
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return nil
	case t.KeyFile == "":
		return &keyError{"redis.tls.cert_file", "needs redis.tls.key_file; set both"}
	case t.CertFile == "":
		return &keyError{"redis.tls.key_file", "needs redis.tls.cert_file; set both"}
	}
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return &keyError{"redis.tls.cert_file", "can't be used with redis.tls.key_file: " + reasonOf(err)}
	}
	c.Certificates = []tls.Certificate{cert}
	return nil
}

// reasonOf leaves out the path, which the key names.
func reasonOf(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
