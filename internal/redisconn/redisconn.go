// Package redisconn makes go-redis clients that quickly detect changes of their servers: a server
// that is back, a failover, moved slots.
package redisconn

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// A connection is replaced after Lifetime, plus or minus LifetimeJitter, so that a client follows a
// changed DNS name within five seconds, even if the old server still runs.
const (
	Lifetime       = 4 * time.Second
	LifetimeJitter = 500 * time.Millisecond
)

// New returns a client like [redis.NewUniversalClient]. In addition the client
//
//   - redials a server within 25 ms, however many dials have failed, so that it is used as soon as it is back;
//   - replaces connections after [Lifetime], unless o has a ConnMaxLifetime;
//   - reloads the slots of a Cluster when a server fails, not only once a minute.
//
// It does not open a connection.
func New(o *redis.UniversalOptions) redis.UniversalClient {
	if o.ConnMaxLifetime == 0 {
		o.ConnMaxLifetime, o.ConnMaxLifetimeJitter = Lifetime, LifetimeJitter
	}
	client := redis.NewUniversalClient(o)
	switch c := client.(type) {
	case *redis.ClusterClient:
		reload := &reloader{cluster: c, now: time.Now}
		c.OnNewNode(func(node *redis.Client) {
			node.AddHook(newDialer())
			node.AddHook(reload)
		})
	case *redis.Client:
		c.AddHook(newDialer())
	}
	return client
}
