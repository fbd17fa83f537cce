package redislookup

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/wardstream/wardstream/internal/redisconn"
	"github.com/wardstream/wardstream/internal/redisurl"
)

// Timeouts of a client made by [Connect]. A Check's own deadline is shorter; these
// bound what goes on behind it, connecting above all.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 500 * time.Millisecond
)

// Connect returns a client fit for a [Lookup]: it repeats nothing, keeps the deadlines of its
// contexts, and a server that can't be reached costs no waiting. It asks a server again within 100 ms of its being back,
// follows a name to another server within five seconds, and slots of a Cluster as soon as they have moved. It doesn't
// connect yet. These are the
// URLs, those of the detector:
//
//	redis://user:password@host:6379/0
//	unix://user:password@/path/to/socket?db=0
//	redis+sentinel://user:password@host1:26379,host2:26379/master/0
//	redis+cluster://user:password@host1:7000,host2:7000
//	rediss://…, rediss+sentinel://…, rediss+cluster://… with TLS
//
// Adjust, if given, may change what was made of the URL, such as its TLSConfig for certificates of one's own.
// Errors name the URL without its secrets.
func Connect(rawURL string, adjust ...func(*redis.UniversalOptions)) (redis.UniversalClient, error) {
	o, err := redisurl.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read Redis URL %s: %w", redisurl.Redact(rawURL), err)
	}
	o.MaxRetries, o.DialerRetries, o.Protocol = -1, 1, 2
	o.ContextTimeoutEnabled, o.DisableIdentity = true, true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PipelinePoolSize = -1 // everything here is a pipeline, so the main pool is it
	o.DialTimeout, o.ReadTimeout = dialTimeout, readTimeout
	if o.MinIdleConns == 0 {
		o.MinIdleConns = 1
	}
	for _, change := range adjust {
		change(o)
	}
	return redisconn.New(o), nil
}
