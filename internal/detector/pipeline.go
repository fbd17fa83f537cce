// Package detector is the worker: the pipeline from stream entries to blocks and
// alerts, and its wiring to the consumer, the stores and the sinks.
package detector

import (
	"context"
	"time"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/uncounted"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/wire"
)

// A decoder turns an entry into an event. An error means that the entry is malformed.
type decoder interface {
	Decode(stream, id string, fields []string) (event.Event, error)
}

// An emitter publishes enforcement events. A slow or failing sink is not an error here.
type emitter interface {
	Emit(ctx context.Context, events []wire.Enforcement) error
}

// cooldowns reports which alerts are due: those whose cooldown has not begun.
type cooldowns interface {
	Begin(ctx context.Context, markers []cooldown.Marker) ([]bool, error)
}

// A Pipeline turns batches of entries into blocks, alerts and enforcement
// events. It is a consumer.Handler, keeps no state between batches and is safe
// for concurrent use.
type Pipeline struct {
	decoder   decoder
	rules     *rules.Set
	windows   window.Store
	policy    *enforce.Policy
	shedder   shedder
	clock     streamClock
	blocks    store.Blocks
	cooldowns cooldowns
	sinks     emitter
	now       func() time.Time
	metrics   *pipelineMetrics
	warnings  *eventWarnings
	uncounted *uncounted.Counter
	tracing   tracing
}

// Handle runs a batch through the stages, each in the file of its name. A stage
// works on what the stages before it finished, and reports what it finished
// itself. Entries that some stage did not finish stay pending; every effect may
// safely be repeated when they are delivered again.
func (p *Pipeline) Handle(ctx context.Context, turn *consumer.Turn, entries []consumer.Entry) ([]consumer.Verdict, error) {
	b := newBatch(entries)
	p.decode(b)    // entries → events
	p.shed(ctx, b) // late events of an overloaded worker are skipped

	ctx, end := p.tracing.start(ctx, b)
	defer end()

	p.clamp(ctx, b)       // no event has a future timestamp
	p.plan(b)             // events → window operations
	p.count(ctx, turn, b) // window operations → counts
	p.judge(b)            // counts → matches
	p.resolve(b)          // matches → blocks and alerts
	p.escalate(ctx, b)    // blocks of repeat offenders get longer
	p.block(ctx, b)       // blocks are written
	p.remember(ctx, b)    // and remembered for the next escalation
	p.alert(ctx, b)       // alerts whose cooldown has not begun are due
	p.emit(ctx, b)        // enforcement events of blocks and alerts are published
	return b.settle()
}
