package publisher

import (
	"strings"
	"time"
)

// DefaultStream is the stream that events are added to unless [WithStreams] is used.
const DefaultStream = "audit:events"

// An Option configures a [Publisher].
type Option func(*options)

type options struct {
	streams         []string
	buffer          int
	maxLen          int64
	maxAge, timeout time.Duration
	onDrop          func(int, error)
	onError         func(error)
	now             func() time.Time
}

func defaults() options {
	return options{streams: []string{DefaultStream}, buffer: 8192, maxAge: 30 * time.Second, timeout: time.Second, now: time.Now}
}

// WithStreams sets the streams; use the detectors' stream.names. Of several streams, source.address
// selects one, so that the events of a client stay in order.
func WithStreams(names ...string) Option {
	return func(o *options) {
		var given []string
		for _, name := range names {
			if name = strings.TrimSpace(name); name != "" {
				given = append(given, name)
			}
		}
		if len(given) > 0 {
			o.streams = given
		}
	}
}

// WithBuffer sets the capacity of the buffer in events; 8,192 by default.
func WithBuffer(events int) Option {
	return func(o *options) {
		if events > 0 {
			o.buffer = events
		}
	}
}

// WithMaxAge sets how long an event is kept in the buffer before it is dropped; 30 s by default.
func WithMaxAge(d time.Duration) Option {
	return func(o *options) {
		if d > 0 {
			o.maxAge = d
		}
	}
}

// WithTimeout sets the timeout of one attempt to send a batch; 1 s by default.
func WithTimeout(d time.Duration) Option {
	return func(o *options) {
		if d > 0 {
			o.timeout = d
		}
	}
}

// WithMaxLen trims the stream to about n entries at each XADD, unread entries included. By default
// the Publisher does not trim; the detectors' retention trims entries that every group has handled.
func WithMaxLen(n int64) Option {
	return func(o *options) { o.maxLen = max(n, 0) }
}

// WithOnDrop calls hook when events are dropped. why wraps ErrFull, ErrExpired, ErrInvalid or
// ErrClosed. hook may run on a goroutine that calls Publish, so it must be fast and safe for
// concurrent use.
func WithOnDrop(hook func(events int, why error)) Option {
	return func(o *options) { o.onDrop = hook }
}

// WithOnError calls hook for each failed attempt to send, on the Publisher's goroutine.
func WithOnError(hook func(error)) Option {
	return func(o *options) { o.onError = hook }
}

// WithClock replaces [time.Now] as the source of timestamps.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}
