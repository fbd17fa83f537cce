package consumer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of [Options].
const (
	DefaultBatchSize     = 512
	DefaultBlock         = time.Second
	DefaultClaimMinIdle  = 30 * time.Second
	DefaultMaxDeliveries = 5
	DefaultDeadMaxLen    = 10_000
	DefaultGrace         = 20 * time.Second
	DefaultTimeout       = 3 * time.Second
)

// Options configure a [Consumer]. Zero values of those that have a default mean
// the default.
type Options struct {
	// Clients reach Redis; [Connect] makes them as the consumer needs them.
	Clients Clients
	// Streams are read by Loops read loops each.
	Streams []string
	// Group is the consumer group; it is made where it isn't there.
	Group string
	// Consumer names this process in the group; the index of the loop is added. It must differ
	// between processes that run at once, and should be the same after a restart, so that what was
	// pending is found at once. The default is the host's name.
	Consumer string
	// Prefix starts the keys of the markers of poison candidates, and of samples.
	Prefix string

	// Loops is how many read loops each stream has: while one waits for Redis
	// another works. Each is a consumer of its own; the default is 1.
	Loops     int
	BatchSize int           // entries read at once
	Block     time.Duration // how long a read waits for entries; at most a second
	// ClaimMinIdle is how long an entry must lie untouched before another consumer claims it.
	ClaimMinIdle time.Duration
	// MaxDeliveries is how often an entry may fail by itself before it is a
	// dead letter, and how often it may be delivered before it is handled alone.
	MaxDeliveries int
	// Retention trims entries older than this that no group needs; 0 keeps all.
	Retention time.Duration
	// MaxLag is the age of the oldest unprocessed entry from which a metric and a
	// warning say that the group is behind; 0 is none.
	MaxLag time.Duration
	// Shed says which late entries are skipped; the zero value is none.
	Shed Shedding
	// DeadMaxLen is about how many dead letters a stream keeps, the newest.
	DeadMaxLen int64
	// Grace is how long the current batches may take once Run's context ends.
	Grace time.Duration
	// Timeout is how long one command may take, the time a read blocks not counted.
	Timeout time.Duration

	Logger *slog.Logger
	// Registerer receives the metrics; without one they are not exported.
	Registerer prometheus.Registerer
	// Now is the clock of deadlines and of the dead letters' times.
	Now func() time.Time

	every      intervals
	replyBytes int // of replies that bring entries again
}

// intervals are how often housekeeping is done.
type intervals struct {
	sample, trim, sweep time.Duration
	idle                time.Duration // after which a consumer that owns nothing is gone
	warn                time.Duration // between two warnings that the group is behind
}

var (
	errNoClients  = errors.New("no Redis clients")
	errNoStreams  = errors.New("no streams")
	errNoGroup    = errors.New("no group")
	errDuplicate  = errors.New("a stream is named twice")
	errNoHandler  = errors.New("no handler")
	errBadSetting = errors.New("a size or a duration is negative")
)

func (o *Options) check() error {
	switch {
	case o.Clients.Read == nil || o.Clients.Ops == nil:
		return errNoClients
	case len(o.Streams) == 0 || slices.Contains(o.Streams, ""):
		return errNoStreams
	case o.Group == "":
		return errNoGroup
	case o.Loops < 0 || o.BatchSize < 0 || o.MaxDeliveries < 0 || o.DeadMaxLen < 0,
		min(o.Block, o.ClaimMinIdle, o.Retention, o.MaxLag, o.Grace, o.Timeout) < 0:
		return errBadSetting
	}
	sorted := slices.Sorted(slices.Values(o.Streams))
	if len(slices.Compact(sorted)) != len(o.Streams) {
		return errDuplicate
	}
	return nil
}

func (o *Options) setDefaults() error {
	if o.Consumer == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("name the consumer: %w", err)
		}
		o.Consumer = host
	}
	setDefault(&o.Loops, 1)
	setDefault(&o.BatchSize, DefaultBatchSize)
	setDefault(&o.Block, DefaultBlock)
	o.Block = min(o.Block, DefaultBlock)
	setDefault(&o.ClaimMinIdle, DefaultClaimMinIdle)
	setDefault(&o.MaxDeliveries, DefaultMaxDeliveries)
	setDefault(&o.DeadMaxLen, DefaultDeadMaxLen)
	setDefault(&o.Grace, DefaultGrace)
	setDefault(&o.Timeout, DefaultTimeout)
	setDefault(&o.replyBytes, maxReplyBytes)
	setDefault(&o.every.sample, 10*time.Second)
	setDefault(&o.every.trim, time.Minute)
	setDefault(&o.every.sweep, 5*time.Minute)
	setDefault(&o.every.idle, time.Hour)
	setDefault(&o.every.warn, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
