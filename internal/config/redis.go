package config

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/wardstream/wardstream/internal/redisurl"
	"github.com/wardstream/wardstream/internal/storeurl"
)

// A keyError says which key can't be used, and why.
type keyError struct{ key, reason string }

func (e *keyError) Error() string { return e.key + ": " + e.reason }

// checkRedis refuses a URL or TLS files that can't be used. The reasons never
// repeat the URL.
func (v *validator) checkRedis() {
	r := v.c.Redis
	if r.URL == "" {
		v.Refuse("redis.url", "is empty; write %s", redisurl.Form)
		return
	}
	if err := storeurl.CheckRedis(r.URL); err != nil {
		v.Refuse("redis.url", "%v", err)
		return
	}
	var wrong *keyError
	if _, err := r.TLSConfig(); errors.As(err, &wrong) {
		v.Refuse(wrong.key, "%s", wrong.reason)
	}
}

// TLSConfig returns what redis.tls makes of TLS: what takes the place of the
// URL's own configuration. Without redis.tls it is nil. It reads the files anew.
func (r Redis) TLSConfig() (*tls.Config, error) {
	t, err := redisurl.TLS(r.TLS).Config(string(r.URL))
	var wrong *redisurl.TLSError
	if errors.As(err, &wrong) {
		return nil, &keyError{strings.TrimSuffix("redis.tls."+wrong.Part, "."), wrong.Reason}
	}
	return t, err
}
