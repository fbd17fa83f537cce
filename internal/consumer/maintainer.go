package consumer

import (
	"context"
	"time"
)

// A maintainer does a stream's housekeeping, one task after the other. It touches no entry that is
// in flight, and every worker may do it at once.
type maintainer struct {
	*member
	tasks []task
}

// A task is one kind of housekeeping.
type task struct {
	every time.Duration
	run   func(context.Context) error
}

func newMaintainer(o *Options, m *member) *maintainer {
	lag := &lagMonitor{member: m, sampler: newSampler(m.clients.Ops, o.Prefix, m.stream, m.group), maxLag: o.MaxLag, warnEvery: o.every.warn}
	dates := &redater{member: m, after: noEntry}
	trims := &trimmer{member: m, retention: o.Retention}
	gone := &janitor{member: m, idle: o.every.idle}
	return &maintainer{member: m, tasks: []task{
		{o.every.sample, lag.measure},
		{o.every.sample, dates.redate},
		{o.every.trim, trims.trim},
		{o.every.sweep, gone.sweep},
	}}
}

// run does each task now and again until ctx ends.
func (m *maintainer) run(ctx context.Context) {
	due := make([]time.Time, len(m.tasks))
	for ctx.Err() == nil {
		next := m.now().Add(m.tasks[0].every)
		for i, t := range m.tasks {
			if now := m.now(); !due[i].After(now) {
				m.attempt(ctx, t)
				due[i] = now.Add(t.every/2 + jitter(t.every))
			}
			if due[i].Before(next) {
				next = due[i]
			}
		}
		pause(ctx, next.Sub(m.now()))
	}
}

// attempt runs a task within the deadline of one command. Its failure is only logged: it comes
// again.
func (m *maintainer) attempt(ctx context.Context, t task) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	if err := t.run(ctx); err != nil && ctx.Err() == nil {
		m.log.Warn("housekeeping failed", "error", err)
	}
}
