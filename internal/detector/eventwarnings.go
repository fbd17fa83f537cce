package detector

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
)

// warningEvery is the least time between two logs of the same warning.
const warningEvery = time.Minute

// eventWarnings counts events that are evaluated although part of them is wrong, and
// logs a sample of what an operator should fix. A nil *eventWarnings does nothing. It
// is safe for concurrent use.
type eventWarnings struct {
	log *slog.Logger
	now func() time.Time

	truncated, conflicts, untimed prometheus.Counter

	mu     sync.Mutex
	logged map[string]lastLog // by message
}

// lastLog is when a warning was logged last, and how many events it concerned since.
type lastLog struct {
	at    time.Time
	since int
}

func newEventWarnings(log *slog.Logger, now func() time.Time, reg prometheus.Registerer) *eventWarnings {
	w := &eventWarnings{
		log: log, now: now, logged: map[string]lastLog{},
		truncated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_events_truncated_total",
			Help: "Events of which parts were cut, replaced or dropped so that the rest counts; redeliveries included.",
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_events_address_conflicts_total",
			Help: "Events that name the client by several addresses, such as source.address and client.address, that differ; redeliveries included.",
		}),
		untimed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wardstream_events_untimed_total",
			Help: "Events without a timestamp of their own where stream.event_time is event, dated by their entry; redeliveries included.",
		}),
	}
	reg.MustRegister(w.truncated, w.conflicts, w.untimed)
	return w
}

// event counts an event that is evaluated, and warns about what is wrong with it.
func (w *eventWarnings) event(e *event.Event) {
	if w == nil || !e.Truncated && !e.AddressConflict && !e.Untimed {
		return
	}
	if e.Truncated {
		w.truncated.Inc()
	}
	if e.AddressConflict {
		w.conflicts.Inc()
		w.warn("events name several addresses of their client: source.address counts, so make sure that it is not a proxy's", e.Stream, e.ID)
	}
	if e.Untimed {
		w.untimed.Inc()
		w.warn("events have no timestamp and are dated by their entries, although stream.event_time is event", e.Stream, e.ID)
	}
}

// malformed warns about an entry that cannot be decoded, where its class of error needs a fix.
func (w *eventWarnings) malformed(class, stream, id string) {
	if w != nil && class == wire.BadTime {
		w.warn("timestamps of events can't be read: they are dead-lettered, since stream.event_time is event", stream, id)
	}
}

// warn logs a message and one entry that it is about, unless it was logged within the last minute.
func (w *eventWarnings) warn(message, stream, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, now := w.logged[message], w.now()
	last.since++
	if !last.at.IsZero() && now.Sub(last.at) < warningEvery {
		w.logged[message] = last
		return
	}
	w.log.Warn(message, "stream", stream, "entry_id", id, "events", last.since) //nolint:sloglint // constants of the callers
	w.logged[message] = lastLog{at: now}
}
