package publisher

import (
	"strings"
	"time"
)

// DefaultStream is where events go unless [WithStreams] says otherwise.
const DefaultStream = "audit:events"

// An Option changes how a [Publisher] works.
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

// WithStreams names the streams, as stream.names of the detectors' configuration does. Of several the
// one is chosen by source.address, so that the events of one client keep their order.
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

// WithBuffer sets how many events may wait; 8,192 by default.
func WithBuffer(events int) Option {
	return func(o *options) {
		if events > 0 {
			o.buffer = events
		}
	}
}

// WithMaxAge sets how long an event may wait for Redis before it is dropped; 30 s by default.
func WithMaxAge(d time.Duration) Option {
	return func(o *options) {
		if d > 0 {
			o.maxAge = d
		}
	}
}

// WithTimeout bounds one attempt to send a batch; 1 s by default.
func WithTimeout(d time.Duration) Option {
	return func(o *options) {
		if d > 0 {
			o.timeout = d
		}
	}
}

// WithMaxLen has each XADD trim the stream to about n entries, whether they were read or not. By default nothing
// is trimmed here: the detectors' retention trims what every group has handled.
func WithMaxLen(n int64) Option {
	return func(o *options) { o.maxLen = max(n, 0) }
}

// WithOnDrop has hook hear of dropped events: how many, and which of ErrFull, ErrExpired, ErrInvalid or ErrClosed the
// reason is (errors.Is). It may run on the goroutine that publishes, so it must be quick and safe for concurrent use.
func WithOnDrop(hook func(events int, why error)) Option {
	return func(o *options) { o.onDrop = hook }
}

// WithOnError has hook hear of each failed attempt to send, on the Publisher's goroutine.
func WithOnError(hook func(error)) Option {
	return func(o *options) { o.onError = hook }
}

// WithClock replaces time.Now as the clock that dates events.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}
