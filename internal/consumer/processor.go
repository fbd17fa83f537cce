package consumer

import "context"

// A processor takes a batch from its delivery to its acks: it has the entries handled, carries out
// their verdicts and schedules a retry of what stays pending.
type processor struct {
	*member
	decider  *decider
	settler  *settler
	poison   *poisonGuard
	inFlight *inFlight
	backlog  *backlog
	pressure *backpressure
}

// process handles items, which have had so many attempts before. It passes the turn.
func (p *processor) process(ctx context.Context, turn *Turn, items []item, attempts int) {
	if len(items) == 0 {
		p.pass(ctx, turn)
		return
	}
	start := p.now()
	p.inFlight.begin(items)
	p.pressure.reset()
	together, alone := p.split(items)
	_ = p.decider.decide(ctx, turn, together) // logged there; what is undecided is tried again
	p.pass(ctx, turn)
	p.settler.settle(ctx, pointers(items))
	for _, it := range alone {
		p.decideAlone(ctx, it)
		p.settler.settle(ctx, []*item{it})
	}
	p.metrics.batchEntries.Observe(float64(len(items)))
	p.metrics.batchDuration.Observe(p.now().Sub(start).Seconds())
	p.scheduleRetry(ctx, items, attempts+1)
}

// pass lets the next batch have its turn, once every batch before this one has had its own.
func (p *processor) pass(ctx context.Context, turn *Turn) {
	if !turn.Wait(ctx) {
		p.metrics.outOfOrder.Inc()
	}
	turn.Pass()
}

// split separates the undecided items that can be handled together from poison candidates: those
// that were delivered so often that they may be what ends processes.
func (p *processor) split(items []item) (together, alone []*item) {
	together = make([]*item, 0, len(items))
	for i := range items {
		switch it := &items[i]; {
		case it.verdict.Status != Pending:
		case it.Deliveries > p.decider.maxDeliveries:
			alone = append(alone, it)
		default:
			together = append(together, it)
		}
	}
	return together, alone
}

// decideAlone handles a poison candidate by itself, behind a marker.
func (p *processor) decideAlone(ctx context.Context, it *item) {
	if ctx.Err() != nil {
		return
	}
	killed, err := p.poison.mark(ctx, it)
	switch {
	case err != nil:
		p.pressure.observe(err)
		p.log.Warn("marking an entry failed; it will be handled later", "error", err, "id", it.ID)
		return
	case killed:
		it.verdict = Verdict{Status: Dead, Reason: reasonKilled}
		return // the marker expires; until the entry is a dead letter it must stay
	}
	_ = p.decider.decide(ctx, nil, []*item{it}) // logged there; the entry is pending still
	p.poison.unmark(ctx, it)
}

// scheduleRetry keeps what isn't settled for its next attempt: in memory as far as it fits, else in
// Redis alone, where it stays pending and is recovered, or claimed by another consumer, later.
func (p *processor) scheduleRetry(ctx context.Context, items []item, attempts int) {
	var left []item // a copy: the heartbeater reads items
	for i := range items {
		if !items[i].settled {
			items[i].Tried = true
			left = append(left, items[i])
		}
	}
	if !p.pressure.fits(p.inFlight.waiting() + len(left)) {
		for i := range left {
			p.poison.unmark(ctx, &left[i])
		}
		p.backlog.add(len(left))
		left = nil
	}
	p.inFlight.finish(retry{items: left, attempts: attempts, due: p.now().Add(backoff(attempts))})
}

// finish does what can be done for the items that wait before the read loop ends: dead letters are
// written, and markers go. The rest stays pending, for the consumer that claims it.
func (p *processor) finish(ctx context.Context) {
	items, _ := p.inFlight.takeDue(p.now().Add(2*backoffCap), retryBatches*p.pressure.batchSize)
	p.settler.settle(ctx, pointers(items))
	for i := range items {
		p.poison.unmark(ctx, &items[i])
	}
}
