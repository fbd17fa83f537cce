// Package redisconn makes go-redis clients that notice what becomes of their servers: that one is back, that another has
// taken over, that slots have moved.
package redisconn

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// A connection is replaced after Lifetime, give or take LifetimeJitter, so that a client follows the name of its server
// within five seconds, even if the old server lives on.
const (
	Lifetime       = 4 * time.Second
	LifetimeJitter = 500 * time.Millisecond
)

// New returns a client as [redis.NewUniversalClient] does, which in addition
//
//   - dials a server again within 25 ms, however many dials have failed, so that it is asked as soon as it answers;
//   - replaces connections after [Lifetime], unless o has a ConnMaxLifetime;
//   - has a Cluster client load anew where slots are when a server fails, not once a minute.
//
// It doesn't connect yet.
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
