package consumer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/wardstream/wardstream/internal/redisconn"
	"github.com/wardstream/wardstream/internal/redisurl"
)

// Clients are the two clients a consumer needs: one whose few connections wait in
// blocking reads, one for everything else, which may be shared.
type Clients struct {
	Read, Ops redis.UniversalClient
}

// Close closes both.
func (c Clients) Close() error {
	return errors.Join(c.Read.Close(), c.Ops.Close())
}

// ConnectOptions adjust what [Connect] makes of a URL.
type ConnectOptions struct {
	// Streams is how many loops will read streams at once; each takes a connection.
	Streams int
	// Block and Timeout are those of [Options]; zero means their defaults.
	Block, Timeout time.Duration
	// TLS replaces the TLS configuration of rediss URLs, for certificates of one's
	// own; nil leaves it.
	TLS *tls.Config
	// ClientName is shown by CLIENT LIST.
	ClientName string
}

// Connect makes clients for a URL; it opens no connection yet. They send every
// command once (repeating a write that may have been done would do it twice; only a Cluster client
// follows redirections), heed their context's deadline and speak RESP2.
// [redisurl.Parse] says which URLs there are. Errors name the URL without its secrets.
func Connect(rawURL string, o ConnectOptions) (Clients, error) {
	base, err := redisurl.Parse(rawURL)
	if err != nil {
		return Clients{}, fmt.Errorf("read Redis URL %s: %w", redisurl.Redact(rawURL), err)
	}
	setDefault(&o.Block, DefaultBlock)
	setDefault(&o.Timeout, DefaultTimeout)
	if o.TLS != nil && base.TLSConfig != nil {
		base.TLSConfig = o.TLS
	}
	base.ClientName = o.ClientName
	base.MaxRetries = -1
	base.DialerRetries = 1
	base.Protocol = 2
	base.ContextTimeoutEnabled = true
	base.DisableIdentity = true
	base.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	base.DialTimeout = o.Timeout
	base.WriteTimeout = o.Timeout

	ops, read := *base, *base
	ops.ReadTimeout = o.Timeout
	read.ReadTimeout = o.Block + o.Timeout + maxOvertime // each read has a deadline of its own
	read.PoolSize = max(o.Streams, 1) + 1                // one more, for a connection being replaced
	read.MinIdleConns, read.MaxIdleConns, read.MaxActiveConns = 0, 0, 0
	read.PipelinePoolSize = -1 // reads come singly
	return Clients{Read: redisconn.New(&read), Ops: redisconn.New(&ops)}, nil
}
