package redislookup

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/wardstream/wardstream/internal/redisconn"
	"github.com/wardstream/wardstream/internal/redisurl"
)

// Timeouts of a client made by [Connect]. A Check's own deadline is shorter; these bound work that
// continues in the background, such as connecting.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 500 * time.Millisecond
)

// Connect returns a client for a [Lookup]. The client does not retry, honours context deadlines and
// fails at once while a server is unreachable. It tries such a server again every 100 ms, follows a
// changed DNS name within five seconds, and follows moved slots of a Cluster at once. Connect does
// not open a connection. It accepts the same URLs as the detector:
//
//	redis://user:password@host:6379/0
//	unix://user:password@/path/to/socket?db=0
//	redis+sentinel://user:password@host1:26379,host2:26379/master/0
//	redis+cluster://user:password@host1:7000,host2:7000
//	rediss://…, rediss+sentinel://…, rediss+cluster://… with TLS
//
// Each adjust function may change the options, for example TLSConfig for a private certificate
// authority. Errors quote the URL with its password redacted.
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
