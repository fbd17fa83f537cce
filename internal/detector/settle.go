package detector

import (
	"errors"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
)

// A batch is what the stages know about the entries they work on. Each stage
// reads what the stages before it filled in.
type batch struct {
	entries   []consumer.Entry
	events    []event.Event // as long as entries; zero where there is none
	standings []standing    // as long as entries
	verdicts  []consumer.Verdict
	errs      []error

	ops       []window.Op    // plan
	plans     []plan         // plan
	counts    []window.Count // count: one for each of ops, or none if counting failed
	matches   []match        // judge
	blocks    []*blockWrite  // resolve
	alerts    []*alert       // resolve
	escalated []*blockWrite  // escalate: blocks whose length is decided
	offences  []offence      // block
	emissions []emission     // block and alert
}

func newBatch(entries []consumer.Entry) *batch {
	return &batch{
		entries: entries, events: make([]event.Event, len(entries)),
		standings: make([]standing, len(entries)), verdicts: make([]consumer.Verdict, len(entries)),
	}
}

// A standing is how far an entry has come. An entry is settled as done only if
// it was planned or skipped, and nothing is outstanding for it. A stage that
// does not report therefore costs a redelivery, never an entry: the zero value
// stays pending, and so does an entry with unfinished work.
type standing struct {
	progress progress
	// outstanding counts the plans to judge, matches to resolve, blocks to write and
	// remember, alerts and enforcement events that have been required and not finished.
	outstanding int32
}

// progress is the last stage that passed an entry on, until the entry is planned.
// From then on the work outstanding for it says what is left.
type progress uint8

const (
	received progress = iota
	decoded           // it holds an event
	admitted          // and is not shed
	clamped           // and its timestamp is usable
	planned           // and the rules have planned
	skipped           // it is acknowledged without evaluation
)

// advance passes on every entry that has come as far as from.
func (b *batch) advance(from, to progress) {
	for i := range b.standings {
		if b.standings[i].progress == from {
			b.standings[i].progress = to
		}
	}
}

// skip acknowledges an entry without evaluation.
func (b *batch) skip(at int) {
	b.events[at] = event.Event{}
	b.standings[at].progress = skipped
}

// require adds one piece of outstanding work to each of the entries.
func (b *batch) require(entries ...int) {
	for _, at := range entries {
		b.standings[at].outstanding++
	}
}

// finish reports one piece of required work as finished for each of the entries.
func (b *batch) finish(entries ...int) {
	for _, at := range entries {
		b.standings[at].outstanding--
	}
}

// deadLetter reports that entries can never be handled, and why. They stay pending
// as long as other work is outstanding for them.
func (b *batch) deadLetter(reason string, entries ...int) {
	for _, at := range entries {
		b.verdicts[at].Reason = reason
	}
}

// fail reports a failure of Redis, Postgres or a sink. It does not settle
// anything: what the failure left unfinished is still outstanding.
func (b *batch) fail(err error) {
	if err != nil {
		b.errs = append(b.errs, err)
	}
}

// settle returns the verdict of each entry, in order, and the failures reported.
func (b *batch) settle() ([]consumer.Verdict, error) {
	for i := range b.verdicts {
		verdict, s := &b.verdicts[i], b.standings[i]
		switch {
		case s.outstanding != 0:
			*verdict = consumer.Verdict{Status: consumer.Pending}
		case verdict.Reason != "":
			verdict.Status = consumer.Dead
		case s.progress == planned, s.progress == skipped:
			verdict.Status = consumer.Done
		}
	}
	return b.verdicts, errors.Join(b.errs...)
}
