// Package report tells of what a [checker.Checker] decided: audit.enforcement.blocked for requests that were
// denied, audit.enforcement.evaluation_failed for checks that could not be made. Events go as JSON lines to a writer,
// to a Redis stream, or both, in the form in which detectors report what they decide.
//
// A request costs a counter. Once a second one event goes out for each blocked scope, and for each class of error and
// fail mode, with the number of requests in enforcement.count: however many requests an attacker sends, and from however many
// addresses, the trail and the memory for it stay bounded.
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
	// maxText bounds what an event keeps of a value that a client chose, in bytes. Values that differ only behind
	// it share an event.
	maxText = 256
	// maxBatches is how many seconds of events wait for a sink that is slow or down.
	maxBatches = 16
)

// A Reporter collects decisions. Make one with [New], give its [Reporter.Option] to checkers, and close it at
// the end; it is safe for concurrent use.
type Reporter struct {
	opts     options
	instance string // makes the events' IDs differ from other processes'

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

// A key is what at most one event goes out for at a time. Those beyond the bound share the key of their type.
type key struct {
	typ         string
	scope       checker.Scope
	class, mode string
}

// A tally is an event in the making.
type tally struct {
	event wire.Enforcement
	err   error // the last one
}

// New returns a Reporter that reports to the sinks of opts.
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

// Option returns the hooks that a Checker needs to feed the Reporter.
func (r *Reporter) Option() checker.Option {
	blocked, failed := checker.WithOnBlocked(r.blocked), checker.WithOnError(r.failed)
	return func(c *checker.Checker) {
		blocked(c)
		failed(c)
	}
}

// Stats are counts since the Reporter was made, over all sinks.
type Stats struct {
	Emitted uint64 // events that a sink has taken
	Dropped uint64 // events that a sink failed to take
}

// Stats returns the counts.
func (r *Reporter) Stats() Stats { return Stats{Emitted: r.emitted.Load(), Dropped: r.dropped.Load()} }

// Close reports what is left and waits until the sinks have it or ctx ends. The error says how many events
// were lost by then. It may be called more than once.
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

// blocked hears of denied requests. Those that the fail mode denied are failed's.
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

// failed hears of checks that could not be made.
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

// count adds a request to the event of k, which is begun if need be.
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
		begin = func() wire.Enforcement { return wire.Enforcement{} } // of many scopes, none is named
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

// run hands over what has gathered, once an interval and at the end.
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

// collect takes the events that have gathered and gives them their IDs.
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

// serve gives a sink its batches, each a few times if need be.
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
