package report

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/wire"
)

const evaluationFailed = wire.TypeEvaluationFailed

// Retries of a failed write.
const (
	attempts   = 5
	attempt    = 2 * time.Second // timeout of each
	firstPause = 100 * time.Millisecond
)

// DefaultStream is the detectors' stream of enforcement events. DefaultMaxLen is the approximate
// number of entries kept in it.
const (
	DefaultStream = "audit:enforcement"
	DefaultMaxLen = 100_000
)

// A sink has a goroutine of its own, so that a slow one does not delay others.
type sink struct {
	batches chan []*tally
	write   func(ctx context.Context, batch []*tally) error
}

// deliver writes a batch, with retries, and reports whether it succeeded.
func (s *sink) deliver(ctx context.Context, batch []*tally) bool {
	for failures := range attempts {
		if s.try(ctx, batch) == nil {
			return true
		}
		if failures == attempts-1 {
			break
		}
		timer := time.NewTimer(firstPause << failures)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
	return false
}

func (s *sink) try(ctx context.Context, batch []*tally) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return s.write(ctx, batch)
}

// An Option configures a [Reporter].
type Option func(*options)

type options struct {
	sinks     []*sink
	origin    wire.Origin
	interval  time.Duration
	maxScopes int
	trace     func(context.Context) string
	now       func() time.Time
}

func defaults() options { return options{interval: time.Second, maxScopes: 1024, now: time.Now} }

func (o *options) add(write func(context.Context, []*tally) error) {
	o.sinks = append(o.sinks, &sink{batches: make(chan []*tally, maxBatches), write: write})
}

// WithWriter writes each event to w, such as os.Stdout, as one line of JSON.
func WithWriter(w io.Writer) Option {
	return func(o *options) {
		o.add(func(_ context.Context, batch []*tally) error {
			var lines bytes.Buffer
			for _, t := range batch {
				line, err := wire.EncodeEnforcement(t.event, o.origin)
				if err != nil {
					return err
				}
				lines.Write(line)
				lines.WriteByte('\n')
			}
			if _, err := w.Write(lines.Bytes()); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
			return nil
		})
	}
}

// A Client is a go-redis client of any kind. It should not retry (MaxRetries -1) and should honour
// context deadlines (ContextTimeoutEnabled).
type Client interface {
	Pipeline() redis.Pipeliner
}

// WithStream adds each event to a Redis stream, trimmed to about maxLen entries. An empty stream
// means [DefaultStream], and maxLen 0 means [DefaultMaxLen].
func WithStream(client Client, name string, maxLen int64) Option {
	if name == "" {
		name = DefaultStream
	}
	if maxLen <= 0 {
		maxLen = DefaultMaxLen
	}
	return func(o *options) {
		o.add(func(ctx context.Context, batch []*tally) error {
			pipe := client.Pipeline()
			for _, t := range batch {
				line, err := wire.EncodeEnforcement(t.event, o.origin)
				if err != nil {
					return err
				}
				pipe.XAdd(ctx, &redis.XAddArgs{
					Stream: name, MaxLen: maxLen, Approx: true,
					Values: []any{"event_type", t.event.Type, "enforcement.id", t.event.ID, "event", line},
				})
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return fmt.Errorf("add events to stream: %w", err)
			}
			return nil
		})
	}
}

// WithLogger logs each evaluation_failed event at level ERROR, with the text of the last error,
// which the event itself omits.
func WithLogger(log *slog.Logger) Option {
	return func(o *options) {
		o.add(func(ctx context.Context, batch []*tally) error {
			for _, t := range batch {
				if t.event.Type != wire.TypeEvaluationFailed {
					continue
				}
				log.LogAttrs(ctx, slog.LevelError, evaluationFailed,
					slog.String("event_type", evaluationFailed), slog.String("error.type", t.event.ErrorType),
					slog.String("enforcement.fail_mode", t.event.FailMode), slog.Int("enforcement.count", t.event.Count), slog.Any("error", t.err))
			}
			return nil
		})
	}
}

// WithResource sets the resource attributes of the events, such as service.name, which is
// "wardstream" by default.
func WithResource(attributes map[string]string) Option {
	return func(o *options) { o.origin.Resource = attributes }
}

// WithVersion sets the version of the events' instrumentation scope.
func WithVersion(version string) Option {
	return func(o *options) { o.origin.Version = version }
}

// WithInterval sets how often events are written; 1 s by default.
func WithInterval(d time.Duration) Option {
	return func(o *options) {
		if d > 0 {
			o.interval = d
		}
	}
}

// WithMaxScopes sets how many events are written per interval at most; 1,024 by default. Requests
// of further scopes are counted in one event without a scope.
func WithMaxScopes(n int) Option {
	return func(o *options) {
		if n > 0 {
			o.maxScopes = n
		}
	}
}

// WithTraceParent sets the function that returns the W3C trace context of a denied request. An
// event for several requests has that of the first.
func WithTraceParent(trace func(context.Context) string) Option {
	return func(o *options) { o.trace = trace }
}

// WithClock replaces [time.Now] as the source of timestamps.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}
