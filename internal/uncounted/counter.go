// Package uncounted counts events that were evaluated and that a rule could not use. The counts are
// a metric, a sample of the events is logged, and workers write them to Redis for detector check.
package uncounted

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
)

const (
	// maxTypes is how many event types are distinguished; further ones are "other", so that
	// made-up types cost no memory.
	maxTypes    = 50
	otherType   = "other"
	maxTypeText = 64
	// writtenTTL is how long what a worker wrote is there for detector check, writeEvery how often
	// it writes.
	writtenTTL = 24 * time.Hour
	writeEvery = 5 * time.Second
	// sampleEvery is the least time between two samples in the log.
	sampleEvery = time.Minute
	// maxSampleText is how much of an attribute a sample quotes, in bytes.
	maxSampleText = 100
)

// A Tally is how many events of a type a rule could not use, and why.
type Tally struct {
	EventType string       `json:"event_type"`
	Rule      string       `json:"rule,omitempty"` // "" where no rule asks for the type
	Reason    rules.Reason `json:"reason"`
	Count     int64        `json:"count"` // since the worker started, redeliveries included
	Stream    string       `json:"stream"`
	ID        string       `json:"id"` // of the latest such entry
	Last      time.Time    `json:"last"`
}

type kind struct {
	eventType, rule string
	reason          rules.Reason
}

// A Counter counts the events of one worker. It is safe for concurrent use; its memory is bounded
// by the number of rules and reasons and by maxTypes.
type Counter struct {
	total *prometheus.CounterVec
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	types   map[string]bool
	tallies map[kind]*Tally
	changed bool
	sampled time.Time
	left    int // samples left out since
}

// New returns a Counter whose metric is registered with reg.
func New(reg prometheus.Registerer, log *slog.Logger, now func() time.Time) *Counter {
	c := &Counter{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wardstream_events_uncounted_total",
			Help: "Events that were evaluated and that a rule could not use, by type (the first 50 that look like one, others are \"other\"), rule and reason; redeliveries included.",
		}, []string{"event_type", "rule", "reason"}),
		log: log, now: now, types: map[string]bool{}, tallies: map[kind]*Tally{},
	}
	reg.MustRegister(c.total)
	return c
}

// Note counts e, and logs it if no other was logged within the minute.
func (c *Counter) Note(e *event.Event, rule string, reason rules.Reason) {
	now := c.now()
	c.mu.Lock()
	key := kind{c.known(e.Type), rule, reason}
	t, ok := c.tallies[key]
	if !ok {
		t = &Tally{EventType: key.eventType, Rule: rule, Reason: reason}
		c.tallies[key] = t
	}
	t.Count++
	t.Stream, t.ID, t.Last, c.changed = e.Stream, e.ID, now, true
	due, left := now.Sub(c.sampled) >= sampleEvery, c.left
	if due {
		c.sampled, c.left = now, 0
	} else {
		c.left++
	}
	c.mu.Unlock()
	c.total.WithLabelValues(key.eventType, rule, string(reason)).Inc()
	if due {
		c.log.Warn("an event could not be used; detector check shows how many", "event_type", brief(e.Type), "rule", rule, "reason", string(reason),
			"stream", e.Stream, "id", e.ID, "source_address", brief(e.Text("source.address")), "attributes", names(e), "left_out", left)
	}
}

// known is the name under which a type is counted: its own if it looks like one, since producers
// choose it, and there is room. The caller holds the lock.
func (c *Counter) known(eventType string) string {
	if len(eventType) > maxTypeText || strings.ContainsFunc(eventType, oddInType) {
		return otherType
	}
	if !c.types[eventType] {
		if len(c.types) == maxTypes {
			return otherType
		}
		c.types[strings.Clone(eventType)] = true // the entry's memory is let go of
	}
	return strings.Clone(eventType)
}

// oddInType reports whether r is not a character of an event type such as auth.login.failed or
// Shop:OrderPaid-v2.
func oddInType(r rune) bool {
	letterOrDigit := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letterOrDigit && !strings.ContainsRune("._-:/", r)
}

func brief(text string) string {
	if len(text) <= maxSampleText {
		return text
	}
	return strings.ToValidUTF8(text[:maxSampleText], "") + "…"
}

// names are those of the event's attributes, of which one may be a near miss.
func names(e *event.Event) []string {
	var out []string
	for i := range min(len(e.Attrs), 20) {
		out = append(out, brief(e.Attrs[i].Name))
	}
	slices.Sort(out)
	return out
}

// Top returns the tallies, most frequent first.
func (c *Counter) Top() []Tally {
	c.mu.Lock()
	out := make([]Tally, 0, len(c.tallies))
	for _, t := range c.tallies {
		out = append(out, *t)
	}
	c.mu.Unlock()
	sortTallies(out)
	return out
}

func sortTallies(list []Tally) {
	slices.SortFunc(list, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.EventType, b.EventType), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
}

// maxTallies is how many tallies a worker writes.
const maxTallies = 50

// write writes the tallies if there is anything new: one SET.
func (c *Counter) write(ctx context.Context, client redis.UniversalClient, key string) error {
	c.mu.Lock()
	changed := c.changed
	c.changed = false
	c.mu.Unlock()
	if !changed {
		return nil
	}
	list := c.Top()
	raw, err := json.Marshal(list[:min(len(list), maxTallies)])
	if err == nil {
		err = client.Set(ctx, key, raw, writtenTTL).Err()
	}
	if err != nil {
		c.mu.Lock()
		c.changed = true
		c.mu.Unlock()
		return fmt.Errorf("write uncounted events: %w", err)
	}
	return nil
}

// Run writes the tallies to key every five seconds until ctx ends, and once more at the end. It
// ignores errors, since the metric has the counts as well.
func (c *Counter) Run(ctx context.Context, client redis.UniversalClient, key string) {
	ticks := time.NewTicker(writeEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = c.write(last, client, key)
			cancel()
			return
		case <-ticks.C:
			_ = c.write(ctx, client, key)
		}
	}
}
