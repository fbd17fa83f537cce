// Package report publishes the decisions of a [checker.Checker] as enforcement events:
// audit.enforcement.blocked for denied requests, audit.enforcement.evaluation_failed for failed
// checks. Events are written as JSON lines to a writer, to a Redis stream, or both, in the same
// format as the detectors' events.
//
// A request only increments a counter. Once a second, one event is written per blocked scope and
// per pair of error class and fail mode, with the number of requests in enforcement.count. Memory
// and event rate therefore stay bounded, however many requests and addresses an attacker uses.
package report

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

const (
	// maxText is the maximum length, in bytes, of a client-chosen value in an event. Values that
	// are equal up to it share an event.
	maxText = 256
	// maxBatches is how many seconds of events are queued for a slow or failing sink.
	maxBatches = 16
)

// A Reporter collects decisions. Make one with [New], pass [Reporter.Option] to checkers, and call
// [Reporter.Close] at the end. It is safe for concurrent use.
type Reporter struct {
	opts     options
	instance string // makes event IDs unique across processes

	mu      sync.Mutex
	tallies map[key]int // index in pending
	pending []*tally
	flushes uint64
	closed  bool

	stop    chan struct{}
	joined  sync.WaitGroup
	cancel  context.CancelFunc
	emitted atomic.Uint64
	dropped atomic.Uint64
}

// A key identifies the requests that share an event. Beyond the limit of WithMaxScopes, requests
// share the key of their type.
type key struct {
	typ         string
	scope       checker.Scope
	class, mode string
}

// A tally is an event that is still counting requests.
type tally struct {
	event wire.Enforcement
	err   error // the last one
}

// New returns a Reporter that writes to the sinks given by opts.
func New(opts ...Option) *Reporter {
	o := defaults()
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reporter{opts: o, instance: rand.Text(), tallies: map[key]int{}, stop: make(chan struct{}), cancel: cancel}
	for _, s := range o.sinks {
		r.joined.Go(func() { r.serve(ctx, s) })
	}
	r.joined.Go(r.run)
	return r
}

// Option returns the checker option that reports the Checker's decisions.
func (r *Reporter) Option() checker.Option {
	blocked, failed := checker.WithOnBlocked(r.blocked), checker.WithOnError(r.failed)
	return func(c *checker.Checker) {
		blocked(c)
		failed(c)
	}
}

// Stats are totals over all sinks since the Reporter was made.
type Stats struct {
	Emitted uint64 // events written
	Dropped uint64 // events that could not be written
}

// Stats returns the totals.
func (r *Reporter) Stats() Stats { return Stats{Emitted: r.emitted.Load(), Dropped: r.dropped.Load()} }

// Close writes the remaining events and waits until that is done or ctx ends; its error then means
// that events were lost. It may be called more than once.
func (r *Reporter) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.stop)
	}
	r.mu.Unlock()
	joined := make(chan struct{})
	go func() {
		r.joined.Wait()
		close(joined)
	}()
	defer r.cancel()
	select {
	case <-joined:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close reporter: sinks have not taken all events: %w", context.Cause(ctx))
	}
}

// blocked is the hook for denied requests. Denials by the fail mode are counted by failed.
func (r *Reporter) blocked(ctx context.Context, s checker.Subject, d checker.Decision) {
	if d.Result() != checker.ResultBlocked {
		return
	}
	scope := checker.Scope{Type: d.Block.Scope.Type, Value: cut(d.Block.Scope.Value)}
	r.count(key{typ: wire.TypeBlocked, scope: scope}, nil, func() wire.Enforcement {
		e := wire.Enforcement{
			Scope: scope, Rule: d.Block.Rule, ExpiresAt: d.Block.ExpiresAt, StatusCode: d.StatusCode,
			UserID: cut(s.User), SessionID: cut(s.Session),
		}
		if s.IP.IsValid() {
			e.SourceAddress = s.IP.Unmap().WithZone("").String()
		}
		if r.opts.trace != nil {
			e.TraceParent = r.opts.trace(ctx)
		}
		return e
	})
}

// failed is the hook for failed checks.
func (r *Reporter) failed(_ context.Context, _ checker.Subject, d checker.Decision) {
	mode := "open"
	if d.FailClosed {
		mode = "closed"
	}
	class := checker.ErrorClass(d.Err)
	r.count(key{typ: wire.TypeEvaluationFailed, class: class, mode: mode}, d.Err, func() wire.Enforcement {
		return wire.Enforcement{ErrorType: class, FailMode: mode}
	})
}

// count adds a request to the event of k, creating it if necessary.
func (r *Reporter) count(k key, err error, begin func() wire.Enforcement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	i, ok := r.tallies[k]
	if !ok && len(r.pending) >= r.opts.maxScopes {
		k = key{typ: k.typ}
		i, ok = r.tallies[k]
		begin = func() wire.Enforcement { return wire.Enforcement{} } // shared by many scopes: names none
	}
	if !ok {
		e := begin()
		e.Type, e.Time = k.typ, r.opts.now()
		if k.typ == wire.TypeBlocked {
			e.Action = wire.ActionBlocked
		}
		i = len(r.pending)
		r.tallies[k] = i
		r.pending = append(r.pending, &tally{event: e})
	}
	t := r.pending[i]
	t.event.Count++
	t.err = err
}

// run flushes once per interval and at the end.
func (r *Reporter) run() {
	ticker := time.NewTicker(r.opts.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.flush()
		case <-r.stop:
			r.flush()
			for _, s := range r.opts.sinks {
				close(s.batches)
			}
			return
		}
	}
}

func (r *Reporter) flush() {
	batch := r.collect()
	if len(batch) == 0 {
		return
	}
	for _, s := range r.opts.sinks {
		select {
		case s.batches <- batch:
		default:
			r.dropped.Add(uint64(len(batch)))
		}
	}
}

// collect removes the pending events and sets their IDs.
func (r *Reporter) collect() []*tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := r.pending
	r.pending = nil
	clear(r.tallies)
	r.flushes++
	entry, now := r.instance+"-"+strconv.FormatUint(r.flushes, 36), r.opts.now()
	for _, t := range batch {
		e := &t.event
		e.Observed = now
		e.ID = wire.EnforcementID(entry, e.Type+e.Rule+e.ErrorType+e.FailMode, e.Scope.Type, e.Scope.Value)
	}
	return batch
}

var errPanicked = errors.New("sink panicked")

// serve writes batches to a sink, with retries.
func (r *Reporter) serve(ctx context.Context, s *sink) {
	for batch := range s.batches {
		n := uint64(len(batch))
		if s.deliver(ctx, batch) {
			r.emitted.Add(n)
		} else {
			r.dropped.Add(n)
		}
	}
}

func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(strings.Clone(text[:maxText]), "")
}
