package detector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/rules"
)

const (
	// maxUncountedTypes is how many event types are distinguished; further ones are "other", so that
	// made-up types cost no memory.
	maxUncountedTypes = 50
	otherType         = "other"
	maxTypeText       = 64
	// uncountedTTL is how long what a worker wrote is there for detector check, uncountedEvery how often it writes.
	uncountedTTL   = 24 * time.Hour
	uncountedEvery = 5 * time.Second
	// sampleEvery is the least time between two samples in the log.
	sampleEvery = time.Minute
	// maxSampleText is how much of an attribute a sample quotes, in bytes.
	maxSampleText = 100
)

// Uncounted says how many events of a type a rule could not use, and why. It is what
// workers write for detector check.
type Uncounted struct {
	EventType string       `json:"event_type"`
	Rule      string       `json:"rule,omitempty"` // "" where no rule asks for the type
	Reason    rules.Reason `json:"reason"`
	Count     int64        `json:"count"` // since the worker started, redeliveries included
	Stream    string       `json:"stream"`
	ID        string       `json:"id"` // of the latest such entry
	Last      time.Time    `json:"last"`
}

type uncountedKey struct {
	eventType, rule string
	reason          rules.Reason
}

// uncounted keeps count of the events that were evaluated and that rules could not use. It is
// safe for concurrent use and bounded by rules, reasons and maxUncountedTypes.
type uncounted struct {
	total *prometheus.CounterVec
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	types   map[string]bool
	tallies map[uncountedKey]*Uncounted
	changed bool
	sampled time.Time
	left    int // samples left out since
}

func newUncounted(reg prometheus.Registerer, log *slog.Logger, now func() time.Time) *uncounted {
	u := &uncounted{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wardstream_events_uncounted_total",
			Help: "Events that were evaluated and that a rule could not use, by type (the first 50 that look like one, others are \"other\"), rule and reason; redeliveries included.",
		}, []string{"event_type", "rule", "reason"}),
		log: log, now: now, types: map[string]bool{}, tallies: map[uncountedKey]*Uncounted{},
	}
	reg.MustRegister(u.total)
	return u
}

// note counts e, and logs it if no other was logged within the minute.
func (u *uncounted) note(e *event.Event, rule string, reason rules.Reason) {
	now := u.now()
	u.mu.Lock()
	key := uncountedKey{u.known(e.Type), rule, reason}
	t, ok := u.tallies[key]
	if !ok {
		t = &Uncounted{EventType: key.eventType, Rule: rule, Reason: reason}
		u.tallies[key] = t
	}
	t.Count++
	t.Stream, t.ID, t.Last, u.changed = e.Stream, e.ID, now, true
	due, left := now.Sub(u.sampled) >= sampleEvery, u.left
	if due {
		u.sampled, u.left = now, 0
	} else {
		u.left++
	}
	u.mu.Unlock()
	u.total.WithLabelValues(key.eventType, rule, string(reason)).Inc()
	if due {
		u.log.Warn("an event could not be used; detector check shows how many", "event_type", brief(e.Type), "rule", rule, "reason", string(reason),
			"stream", e.Stream, "id", e.ID, "source_address", brief(e.Text("source.address")), "attributes", names(e), "left_out", left)
	}
}

// known is the name under which a type is counted: its own if it looks like one, since producers choose
// it, and there is room. The caller holds the lock.
func (u *uncounted) known(eventType string) string {
	if len(eventType) > maxTypeText || strings.ContainsFunc(eventType, oddInType) {
		return otherType
	}
	if !u.types[eventType] {
		if len(u.types) == maxUncountedTypes {
			return otherType
		}
		u.types[strings.Clone(eventType)] = true // the entry's memory is let go of
	}
	return strings.Clone(eventType)
}

// oddInType reports whether r is not a character of an event type such as auth.login.failed or Shop:OrderPaid-v2.
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

// top returns the tallies, most frequent first.
func (u *uncounted) top() []Uncounted {
	u.mu.Lock()
	out := make([]Uncounted, 0, len(u.tallies))
	for _, t := range u.tallies {
		out = append(out, *t)
	}
	u.mu.Unlock()
	sortUncounted(out)
	return out
}

func sortUncounted(list []Uncounted) {
	slices.SortFunc(list, func(a, b Uncounted) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.EventType, b.EventType), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
}

// maxUncounted is how many tallies a worker writes.
const maxUncounted = 50

// write writes the tallies if there is anything new: one SET.
func (u *uncounted) write(ctx context.Context, client redis.UniversalClient, key string) error {
	u.mu.Lock()
	changed := u.changed
	u.changed = false
	u.mu.Unlock()
	if !changed {
		return nil
	}
	list := u.top()
	raw, err := json.Marshal(list[:min(len(list), maxUncounted)])
	if err == nil {
		err = client.Set(ctx, key, raw, uncountedTTL).Err()
	}
	if err != nil {
		u.mu.Lock()
		u.changed = true
		u.mu.Unlock()
		return fmt.Errorf("write uncounted events: %w", err)
	}
	return nil
}

// run writes the tallies now and then until ctx ends, and once more at the end. That it
// can't is no reason to stop: the metric has them as well.
func (u *uncounted) run(ctx context.Context, client redis.UniversalClient, key string) {
	ticks := time.NewTicker(uncountedEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = u.write(last, client, key)
			cancel()
			return
		case <-ticks.C:
			_ = u.write(ctx, client, key)
		}
	}
}

// Uncounted returns what this worker could not use since it started, most frequent first.
func (d *Detector) Uncounted() []Uncounted { return d.uncounted.top() }

// ReadUncounted returns what the workers of these consumer names could not use within a day, added up,
// most frequent first: one GET each. What an unknown version wrote is left out.
func ReadUncounted(ctx context.Context, client redis.UniversalClient, prefix string, consumers []string) ([]Uncounted, error) {
	keys, sums := rediskey.Keys{Prefix: prefix}, map[uncountedKey]*Uncounted{}
	for _, consumer := range consumers {
		raw, err := client.Get(ctx, keys.Uncounted(consumer)).Bytes()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read uncounted events: %w", err)
		}
		var list []Uncounted
		if json.Unmarshal(raw, &list) != nil {
			continue
		}
		for _, t := range list {
			key := uncountedKey{t.EventType, t.Rule, t.Reason}
			sum, ok := sums[key]
			if !ok {
				sums[key] = &t
				continue
			}
			sum.Count += t.Count
			if t.Last.After(sum.Last) {
				sum.Stream, sum.ID, sum.Last = t.Stream, t.ID, t.Last
			}
		}
	}
	out := make([]Uncounted, 0, len(sums))
	for _, sum := range sums {
		out = append(out, *sum)
	}
	sortUncounted(out)
	return out, nil
}
