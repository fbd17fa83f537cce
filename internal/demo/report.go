package demo

import (
	"reflect"
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// The types of reports.
const (
	typeStart   = "start"   // what runs where
	typeRequest = "request" // an actor's request, and what became of it
	typeFound   = "found"   // a rule matched, and a block follows
	typeBlocked = "blocked" // a block begins
	typeAlert   = "alert"   // a rule matched without blocking
	typeRevoked = "revoked" // an operator lifted a block
	typeOther   = "other"   // another enforcement event
	typeSummary = "summary" // what it all came to
)

// Outcomes of requests.
const (
	allowed = "allowed"
	denied  = "denied"
)

// manual is the rule of blocks that an operator asked for.
const manual = "manual"

// A report is one line about what happened.
type report struct {
	Type  string    `json:"type"`
	Time  time.Time `json:"time"`
	Actor string    `json:"actor,omitempty"` // "" for a client outside the simulation

	// Of requests.
	Address string `json:"address,omitempty"`
	User    string `json:"user,omitempty"`
	Method  string `json:"method,omitempty"`
	Path    string `json:"path,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	Status  int    `json:"status,omitempty"` // ingress-check's
	Note    string `json:"note,omitempty"`

	// Of what Wardstream found and decided.
	Rule       string         `json:"rule,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	Evidence   map[string]any `json:"evidence,omitempty"`
	ScopeType  string         `json:"scope_type,omitempty"`
	ScopeValue string         `json:"scope_value,omitempty"`
	Permanent  bool           `json:"permanent,omitempty"`
	Until      *time.Time     `json:"until,omitempty"`
	TTL        int            `json:"ttl_seconds,omitempty"`
	DelayMS    *float64       `json:"delay_ms,omitempty"` // from the event's entry to the block
	DryRun     bool           `json:"dry_run,omitempty"`
	By         string         `json:"by,omitempty"`
	Event      string         `json:"event_type,omitempty"`

	hostile bool // of requests: an attacker's
	count   int  // of requests denied: of the same actor, so far
}

// requestReport describes a visit. Count is how often the actor was denied by now.
func requestReport(v visit, count int) report {
	r := report{
		Type: typeRequest, Time: v.time, Actor: v.actor.name, Address: v.actor.from(v.step), Method: v.step.method, Path: v.step.path,
		Outcome: allowed, Status: v.status, Note: v.step.note, hostile: v.actor.hostile, count: count,
	}
	if v.step.known {
		r.User = v.actor.user
	}
	if v.denied() {
		r.Outcome = denied
	}
	return r
}

// sightingReports describe an enforcement event by the named actor. A block that came of
// the same match as the last one is not found again.
func sightingReports(s, last sighting, actor string) []report {
	r := report{
		Time: s.Observed, Actor: actor, Rule: s.Rule, ScopeType: s.Scope.Type, ScopeValue: s.Scope.Value, Event: s.Type,
	}
	switch s.Type {
	case wire.TypeBlockApplied:
		var out []report
		if s.Rule != manual && !sameMatch(s, last) {
			found := report{Type: typeFound, Time: s.Observed, Actor: actor, Rule: s.Rule, Reason: s.block.Reason, Evidence: s.block.Metadata}
			if actor == "" {
				found.ScopeType, found.ScopeValue = s.Scope.Type, s.Scope.Value
			}
			out = append(out, found)
		}
		return append(out, blockedReport(r, s))
	case wire.TypeAlert:
		r.Type, r.Reason, r.DryRun, r.Address, r.User = typeAlert, s.Description, s.DryRun, s.SourceAddress, s.UserID
	case wire.TypeBlockRevoked:
		r.Type, r.Reason, r.By = typeRevoked, s.Reason, s.RevokedBy
	default:
		r.Type, r.Address, r.User = typeOther, s.SourceAddress, s.UserID
	}
	return []report{r}
}

func blockedReport(r report, s sighting) report {
	delay := float64(s.Observed.Sub(s.Time).Microseconds()) / 1000
	r.Type, r.DelayMS, r.Permanent, r.TTL = typeBlocked, &delay, s.ExpiresAt.IsZero(), s.TTL
	if !r.Permanent {
		r.Until = &s.ExpiresAt
	}
	if s.Rule == manual {
		r.Reason = s.block.Reason
		r.By, _ = s.block.Metadata["actor"].(string)
	}
	return r
}

// sameMatch reports whether two blocks come of one match, which may be of several scopes.
func sameMatch(s, last sighting) bool {
	return last.Type == s.Type && last.Rule == s.Rule && last.Time.Equal(s.Time) && last.Scope.Type != s.Scope.Type &&
		reflect.DeepEqual(last.block.Metadata, s.block.Metadata)
}

// A tally is what one actor has come to.
type tally struct {
	actor     *actor
	requests  int
	denied    int
	hostile   int       // its events that were hostile
	firstBad  time.Time // of the entry of the first of them
	blockedAt time.Time // in the first of its scopes; zero if in none
	rules     []string  // that found it
}

// A ledger counts what becomes of actors.
type ledger struct {
	tallies []*tally
	last    sighting
	guests  int // blocks of scopes outside the simulation
}

func newLedger(actors []*actor) *ledger {
	l := &ledger{}
	for _, a := range actors {
		l.tallies = append(l.tallies, &tally{actor: a})
	}
	return l
}

// visited takes note of a request.
func (l *ledger) visited(v visit) report {
	t := l.of(func(a *actor) bool { return a == v.actor })
	t.requests++
	if v.denied() {
		t.denied++
	}
	if v.step.hostile && !v.denied() {
		if t.hostile == 0 {
			t.firstBad = v.seen
		}
		t.hostile++
	}
	return requestReport(v, t.denied)
}

// sighted takes note of an enforcement event.
func (l *ledger) sighted(s sighting) []report {
	t := l.of(func(a *actor) bool { return a.is(s.Scope) })
	name := ""
	if t != nil {
		name = t.actor.name
	}
	if s.Type == wire.TypeBlockApplied {
		l.blocked(t, s)
	}
	reports := sightingReports(s, l.last, name)
	l.last = s
	return reports
}

func (l *ledger) blocked(t *tally, s sighting) {
	if t == nil {
		l.guests++
		return
	}
	if !slices.Contains(t.rules, s.Rule) {
		t.rules = append(t.rules, s.Rule)
	}
	if t.blockedAt.IsZero() {
		t.blockedAt = s.Observed
	}
}

func (l *ledger) of(who func(*actor) bool) *tally {
	for _, t := range l.tallies {
		if who(t.actor) {
			return t
		}
	}
	return nil
}

// is reports whether a scope belongs to the actor alone. It is false for shared addresses.
func (a *actor) is(s checker.Scope) bool {
	switch s.Type {
	case checker.ScopeIP:
		return s.Value == a.address
	case checker.ScopeUser:
		return s.Value == a.user
	case checker.ScopeSession:
		return s.Value == a.session
	}
	return false
}

// settled reports whether every attacker has been blocked and has noticed.
func (l *ledger) settled() bool {
	return !slices.ContainsFunc(l.tallies, func(t *tally) bool { return t.actor.hostile && (t.blockedAt.IsZero() || t.denied == 0) })
}
