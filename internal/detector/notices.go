package detector

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/wire"
)

// noticeEvery is how often one kind of notice is logged at most.
const noticeEvery = time.Minute

// notices counts events that are evaluated although something about them is not as it should be, and logs a sample of what an
// operator has to know. A nil *notices does nothing. It is safe for concurrent use.
type notices struct {
	log *slog.Logger
	now func() time.Time

	truncated, conflicts, untimed prometheus.Counter

	mu     sync.Mutex
	logged map[string]sampled
}

// sampled is when a notice was logged last, and how many there were since.
type sampled struct {
	at    time.Time
	since int
}

func newNotices(log *slog.Logger, now func() time.Time, reg prometheus.Registerer) *notices {
	n := &notices{
		log: log, now: now, logged: map[string]sampled{},
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
	reg.MustRegister(n.truncated, n.conflicts, n.untimed)
	return n
}

// event takes notice of an event.
func (n *notices) event(e *event.Event) {
	if n == nil || !e.Truncated && !e.AddressConflict && !e.Untimed {
		return
	}
	if e.Truncated {
		n.truncated.Inc()
	}
	if e.AddressConflict {
		n.conflicts.Inc()
		n.warn("events name several addresses of their client: source.address counts, so make sure that it is not a proxy's", e.Stream, e.ID)
	}
	if e.Untimed {
		n.untimed.Inc()
		n.warn("events have no timestamp and are dated by their entries, although stream.event_time is event", e.Stream, e.ID)
	}
}

// malformed takes notice of an entry that can't be decoded.
func (n *notices) malformed(class, stream, id string) {
	if n != nil && class == wire.BadTime {
		n.warn("timestamps of events can't be read: they are dead-lettered, since stream.event_time is event", stream, id)
	}
}

// warn logs a message, with one entry that it is about, unless it was logged within the last minute.
func (n *notices) warn(message, stream, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last, now := n.logged[message], n.now()
	last.since++
	if !last.at.IsZero() && now.Sub(last.at) < noticeEvery {
		n.logged[message] = last
		return
	}
	n.log.Warn(message, "stream", stream, "entry_id", id, "events", last.since) //nolint:sloglint // constants of the callers
	n.logged[message] = sampled{at: now}
}
