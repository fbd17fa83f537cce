// Package storetest is what every block store has to pass: a conformance
// suite, and a comparison with the one in memory over random histories.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A Backend is one store under test, empty.
type Backend struct {
	Blocks store.Blocks
	// Now is the clock that ends blocks.
	Now func() time.Time
	// Reach returns once Now is at or after the time: it moves a clock that can
	// be moved and waits for one that can't.
	Reach func(t T, at time.Time)
	// Movable says that Reach moves the clock.
	Movable bool
	// Brief says that what is in force comes without its reason, beginning and
	// metadata, as the membership hash has it.
	Brief bool
	// Longest is how many characters a scope's value may have; 0 is any number.
	Longest int
}

// T is what the suite needs of *testing.T and *rapid.T.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Open returns an empty backend for one test.
type Open func(t *testing.T) Backend

// Blocks runs the conformance suite.
func Blocks(t *testing.T, open Open) {
	for name, test := range map[string]func(*suite, *testing.T){
		"Begin":                   (*suite).begin,
		"StrengthMatrix":          (*suite).strengthMatrix,
		"ExtensionKeepsIdentity":  (*suite).extensionKeepsIdentity,
		"RedeliveryBeginsAgain":   (*suite).redeliveryBeginsAgain,
		"RedeliveryBecomesAgain":  (*suite).redeliveryBecomesAgain,
		"PermanentStaysOnTop":     (*suite).permanentStaysOnTop,
		"LatestAttributesWin":     (*suite).latestAttributesWin,
		"UnblockRefusesOlder":     (*suite).unblockRefusesOlder,
		"UnblockWithoutBlock":     (*suite).unblockWithoutBlock,
		"UnblockNeverMovesBack":   (*suite).unblockNeverMovesBack,
		"UnblockNotInTheFuture":   (*suite).unblockNotInTheFuture,
		"OperatorLiftsUnblock":    (*suite).operatorLiftsUnblock,
		"EpochIsNoOperator":       (*suite).epochIsNoOperator,
		"Expiry":                  (*suite).expiry,
		"Lapsed":                  (*suite).lapsed,
		"OddValues":               (*suite).oddValues,
		"NUL":                     (*suite).nul,
		"Metadata":                (*suite).metadata,
		"Defaults":                (*suite).defaults,
		"UnstorableHoldsNobodyUp": (*suite).unstorableHoldsNobodyUp,
		"BatchInOrder":            (*suite).batchInOrder,
		"LargeBatch":              (*suite).largeBatch,
		"OneBeginsOfMany":         (*suite).oneBeginsOfMany,
		"UnblockAgainstPuts":      (*suite).unblockAgainstPuts,
		"ListOrder":               (*suite).listOrder,
		"LookupMany":              (*suite).lookupMany,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(&suite{Backend: open(t)}, t)
		})
	}
}

type suite struct{ Backend }

func (s *suite) put(t *testing.T, puts ...store.Put) []store.Result {
	t.Helper()
	results, err := s.Blocks.Put(context.Background(), puts)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	if len(results) != len(puts) {
		t.Fatalf("Put returned %d results for %d puts", len(results), len(puts))
	}
	return results
}

// put1 puts one block, which has to have the outcome.
func (s *suite) put1(t *testing.T, p store.Put, want store.Outcome) checker.Block {
	t.Helper()
	r := s.put(t, p)[0]
	if r.Err != nil || r.Outcome != want {
		t.Fatalf("Put of %+v: outcome %d, error %v; want outcome %d", p, r.Outcome, r.Err, want)
	}
	return r.Block
}

func (s *suite) lookup(t *testing.T, scopes ...checker.Scope) []checker.Block {
	t.Helper()
	blocks, err := s.Blocks.Lookup(context.Background(), scopes)
	if err != nil {
		t.Fatalf("Lookup: %v", err)
	}
	return blocks
}

// holds fails unless the scope of want is blocked by it.
func (s *suite) holds(t *testing.T, want checker.Block) {
	t.Helper()
	blocks := s.lookup(t, want.Scope)
	if len(blocks) != 1 {
		t.Fatalf("Lookup(%q) = %+v, want one block", want.Scope, blocks)
	}
	s.same(t, blocks[0], want)
}

// free fails if the scope is blocked.
func (s *suite) free(t *testing.T, scope checker.Scope) {
	t.Helper()
	if blocks := s.lookup(t, scope); len(blocks) != 0 {
		t.Fatalf("Lookup(%q) = %+v, want nothing", scope, blocks)
	}
}

func (s *suite) unblock(t *testing.T, scope checker.Scope, at time.Time) []checker.Block {
	t.Helper()
	lifted, err := s.Blocks.Unblock(context.Background(), store.Revocation{Scope: scope, By: "ops", Reason: "mistake", At: at})
	if err != nil {
		t.Fatalf("Unblock: %v", err)
	}
	return lifted
}

// same fails unless got is want, as far as the backend knows.
func (s *suite) same(t T, got, want checker.Block) {
	t.Helper()
	if g, w := s.text(got), s.text(want); g != w {
		t.Fatalf("got block\n%s\nwant\n%s", g, w)
	}
}

func (s *suite) text(b checker.Block) string { return describe(b, s.Brief) }

// describe writes a block in a form that can be compared.
func describe(b checker.Block, brief bool) string {
	b.CreatedAt, b.ExpiresAt = b.CreatedAt.UTC(), b.ExpiresAt.UTC()
	if len(b.Metadata) == 0 {
		b.Metadata = nil
	}
	if brief {
		b.Reason, b.CreatedAt, b.Metadata = "", time.Time{}, nil
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// base is a whole second a little before the present.
func (s *suite) base() time.Time { return s.Now().Add(-10 * time.Second).Truncate(time.Second) }

func scope(value string) checker.Scope { return checker.Scope{Type: checker.ScopeUser, Value: value} }

// temporary is a block of scope begun at the given time.
func temporary(sc checker.Scope, id string, at time.Time, ttl time.Duration) store.Put {
	p := permanent(sc, id, at)
	p.Block.ExpiresAt = at.Add(ttl)
	return p
}

func permanent(sc checker.Scope, id string, at time.Time) store.Put {
	return store.Put{EvidenceTime: at, Block: checker.Block{
		ID: id, Scope: sc, Reason: "because of " + id, Rule: "rule_" + id, StatusCode: 403, Message: "no, " + id,
		CreatedAt: at, Metadata: map[string]any{"n": json.Number("5"), "of": id},
	}}
}

// operator makes a put an operator's own wish.
func operator(p store.Put) store.Put {
	p.EvidenceTime = time.Time{}
	return p
}

func unstorable(r store.Result) bool { return errors.Is(r.Err, store.ErrUnstorable) }
