package detector

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"

	"github.com/wardstream/wardstream/internal/consumer"
	"github.com/wardstream/wardstream/internal/wire"
)

// A pipelineStage is one call of Handle.
type pipelineStage struct {
	name string
	run  func(*Pipeline, context.Context, *batch)
}

// pipelineStages are the stages in the order of Handle. TestStagesAreThoseOfHandle keeps them so.
func pipelineStages() []pipelineStage {
	return []pipelineStage{
		{"decode", func(p *Pipeline, _ context.Context, b *batch) { p.decode(b) }},
		{"shed", (*Pipeline).shed},
		{"clamp", (*Pipeline).clamp},
		{"plan", func(p *Pipeline, _ context.Context, b *batch) { p.plan(b) }},
		{"count", func(p *Pipeline, ctx context.Context, b *batch) { p.count(ctx, nil, b) }},
		{"judge", func(p *Pipeline, _ context.Context, b *batch) { p.judge(b) }},
		{"resolve", func(p *Pipeline, _ context.Context, b *batch) { p.resolve(b) }},
		{"escalate", (*Pipeline).escalate},
		{"block", (*Pipeline).block},
		{"remember", (*Pipeline).remember},
		{"alert", (*Pipeline).alert},
		{"emit", (*Pipeline).emit},
	}
}

func TestStagesAreThoseOfHandle(t *testing.T) {
	t.Parallel()
	f, err := parser.ParseFile(token.NewFileSet(), "pipeline.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var called []string
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Name.Name != "Handle" {
			continue
		}
		for _, statement := range fn.Body.List {
			if e, ok := statement.(*ast.ExprStmt); ok {
				called = append(called, e.X.(*ast.CallExpr).Fun.(*ast.SelectorExpr).Sel.Name)
			}
		}
	}
	var listed []string
	for _, s := range pipelineStages() {
		listed = append(listed, s.name)
	}
	if !slices.Equal(called, listed) {
		t.Errorf("Handle calls %q, the tests of forgetful stages know %q", called, listed)
	}
}

// mixedRules and mixed are a batch of everything: three failed logins, the last of which
// blocks, three visits, the last of which alerts, an event that no rule asks for, an
// enforcement event and a malformed entry.
const (
	mixedRules = "rules: [{name: brute_force_login, threshold: 3}, {name: resource_enumeration, threshold: 3}]\n" +
		"escalate: {factor: 2, max_ttl: 24h, memory: 48h}\n"
	mixedVerdicts = "DDDDDDDDX"
)

func (b *bench) mixed() []consumer.Entry {
	batch := b.failures(3, "203.0.113.9")
	for _, path := range []string{"/u/1", "/u/2", "/u/3"} {
		batch = append(batch, b.entry("event_type", "http.response.success", "source.address", "203.0.113.7", "http.route", "/u/<id>", "url.path", path))
	}
	return append(batch, b.entry("event_type", "nobody.wants"), b.entry("event_type", "audit.enforcement.alert"), b.entry("no", "type"))
}

// withFaultyStage handles a mixed batch as Handle does, with faulty in place of one stage,
// and then what was left pending once more, as Redis would deliver it.
func (b *bench) withFaultyStage(name, want string, faulty func(stage pipelineStage, on *batch)) {
	b.t.Helper()
	entries := b.mixed()
	on := newBatch(entries)
	for _, stage := range pipelineStages() {
		if stage.name == name {
			faulty(stage, on)
		} else {
			stage.run(b.Pipeline, b.t.Context(), on)
		}
	}
	verdicts, err := on.settle()
	if got := letters(verdicts); got != want || err != nil {
		b.t.Fatalf("verdicts %s (%v), want %s", got, err, want)
	}
	var left []consumer.Entry
	redelivered := ""
	for i, v := range verdicts {
		if v.Status == consumer.Pending {
			left, redelivered = append(left, entries[i]), redelivered+mixedVerdicts[i:i+1]
		}
	}
	b.must(redelivered, left...)
	types := map[string]bool{}
	for _, e := range b.emitted {
		types[e.Type] = true
	}
	if _, ok := b.blocked("ip", "203.0.113.9"); !ok || !types[wire.TypeBlockApplied] || !types[wire.TypeAlert] {
		b.t.Errorf("after the redelivery: blocked %t, emitted %v", ok, types)
	}
}

// TestForgetfulStageLeavesEntriesPending: whichever stage does nothing and reports
// nothing, the entries that had to go through it stay pending, and no others are held up.
func TestForgetfulStageLeavesEntriesPending(t *testing.T) {
	t.Parallel()
	for stage, want := range map[string]string{
		"none":     mixedVerdicts,
		"decode":   "PPPPPPPPP",
		"shed":     "PPPPPPPDX",
		"clamp":    "PPPPPPPDX",
		"plan":     "PPPPPPPDX",
		"count":    "PPPPPPDDX",
		"judge":    "PPPPPPDDX",
		"resolve":  "DDPDDPDDX",
		"escalate": "DDPDDDDDX",
		"block":    "DDPDDDDDX",
		"remember": "DDPDDDDDX",
		"alert":    "DDDDDPDDX",
		"emit":     "DDPDDPDDX",
	} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			newBench(t, mixedRules).withFaultyStage(stage, want, func(pipelineStage, *batch) {})
		})
	}
}

// TestStageThatLosesWorkLeavesEntriesPending: whichever stage drops what it and the
// stages before it were to pass on, the entries concerned stay pending.
func TestStageThatLosesWorkLeavesEntriesPending(t *testing.T) {
	t.Parallel()
	for stage, want := range map[string]string{
		"plan":     "PPPPPPDDX",
		"count":    "PPPPPPDDX",
		"judge":    "DDPDDPDDX",
		"resolve":  "DDPDDPDDX",
		"escalate": "DDPDDPDDX",
		"block":    "DDPDDPDDX",
		"remember": "DDPDDPDDX",
		"alert":    "DDPDDPDDX",
	} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, mixedRules)
			b.withFaultyStage(stage, want, func(stage pipelineStage, on *batch) {
				stage.run(b.Pipeline, t.Context(), on)
				on.ops, on.plans, on.counts, on.matches, on.blocks = nil, nil, nil, nil, nil
				on.alerts, on.escalated, on.offences, on.emissions = nil, nil, nil, nil
			})
		})
	}
}

// TestEmitFailureLeavesEntriesPending: an event that was not published is published at
// the redelivery of the entries that led to it.
func TestEmitFailureLeavesEntriesPending(t *testing.T) {
	t.Parallel()
	b := newBench(t, bruteForce)
	b.sinks = deafSinks{}
	attack := b.failures(5, "203.0.113.9")
	if got, err := b.handle(attack...); got != "DDDDP" || !errors.Is(err, errDown) {
		t.Fatalf("verdicts %s (%v), want DDDDP and an error", got, err)
	}
	b.sinks = b
	b.must("D", attack[4])
	if len(b.emitted) != 1 || b.emitted[0].Type != wire.TypeBlockApplied {
		t.Errorf("emitted %+v", b.emitted)
	}
}

type deafSinks struct{}

func (deafSinks) Emit(context.Context, []wire.Enforcement) error { return errDown }

// TestSettleOutstandingWorkOutranksDeadLetter: an entry that can never be handled in one
// respect stays pending until its other effects are there.
func TestSettleOutstandingWorkOutranksDeadLetter(t *testing.T) {
	t.Parallel()
	b := newBatch(make([]consumer.Entry, 3))
	for i := range b.standings {
		b.standings[i].progress = planned
	}
	b.require(0, 1)
	b.deadLetter("unstorable block", 0, 1)
	b.finish(1)
	verdicts, err := b.settle()
	if got := letters(verdicts); got != "PXD" || verdicts[0].Reason != "" || verdicts[1].Reason != "unstorable block" || err != nil {
		t.Errorf("verdicts %+v (%v), want PXD", verdicts, err)
	}
}
