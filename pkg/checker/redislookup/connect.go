package redislookup

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
)

// Timeouts of a client made by [Connect]. A Check's own deadline is shorter; these
// bound what goes on behind it, connecting above all.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 500 * time.Millisecond
)

var errURL = errors.New("not a URL; write redis://, rediss:// or unix://, with special characters of the password percent-encoded")

// Connect returns a client fit for a [Lookup]: it repeats nothing, keeps the deadlines of its
// contexts, and a server that can't be reached costs no waiting. It doesn't connect yet. The URL is one
// that go-redis reads, with its query parameters; one with addr= is of a Redis Cluster, one with
// master_name= of Sentinels. Errors never carry the URL, which may hold a password.
func Connect(rawURL string) (redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read Redis URL: %w", errURL)
	}
	switch q := u.Query(); {
	case q.Has("master_name"):
		return connectSentinel(rawURL)
	case q.Has("addr"):
		return connectCluster(rawURL)
	default:
		return connectServer(rawURL)
	}
}

func connectServer(rawURL string) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read Redis URL: %w", err)
	}
	o.MaxRetries, o.DialerRetries, o.Protocol = -1, 1, 2
	o.ContextTimeoutEnabled, o.DisableIdentity = true, true
	o.PipelinePoolSize = -1 // everything here is a pipeline, so the main pool is it
	o.DialTimeout = orElse(o.DialTimeout, dialTimeout)
	o.ReadTimeout = orElse(o.ReadTimeout, readTimeout)
	o.MinIdleConns = orElse(o.MinIdleConns, 1)
	return redis.NewClient(o), nil
}

func connectCluster(rawURL string) (redis.UniversalClient, error) {
	o, err := redis.ParseClusterURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read Redis URL: %w", err)
	}
	o.MaxRetries, o.DialerRetries, o.Protocol = -1, 1, 2
	o.ContextTimeoutEnabled, o.DisableIdentity = true, true
	o.PipelinePoolSize = -1
	o.DialTimeout = orElse(o.DialTimeout, dialTimeout)
	o.ReadTimeout = orElse(o.ReadTimeout, readTimeout)
	return redis.NewClusterClient(o), nil
}

func connectSentinel(rawURL string) (redis.UniversalClient, error) {
	o, err := redis.ParseFailoverURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read Redis URL: %w", err)
	}
	o.MaxRetries, o.DialerRetries, o.Protocol = -1, 1, 2
	o.ContextTimeoutEnabled, o.DisableIdentity = true, true
	o.DialTimeout = orElse(o.DialTimeout, dialTimeout)
	o.ReadTimeout = orElse(o.ReadTimeout, readTimeout)
	return redis.NewFailoverClient(o), nil
}

func orElse[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
