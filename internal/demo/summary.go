package demo

import (
	"time"

	"github.com/wardstream/wardstream/internal/uncounted"
)

// An actorSummary is what one actor came to.
type actorSummary struct {
	Name     string   `json:"name"`
	Attacker bool     `json:"attacker"`
	Address  string   `json:"address"`
	User     string   `json:"user,omitempty"`
	Requests int      `json:"requests"`
	Allowed  int      `json:"allowed"`
	Denied   int      `json:"denied"`
	Hostile  int      `json:"hostile_events"` // that were published before it was denied
	Blocked  bool     `json:"blocked"`
	After    *float64 `json:"detection_seconds,omitempty"` // from the first hostile event to the block
	Rules    []string `json:"rules,omitempty"`
}

// A summary is what the demo came to.
type summary struct {
	Type        string         `json:"type"`
	Seconds     float64        `json:"seconds"`
	Interrupted bool           `json:"interrupted"`
	Actors      []actorSummary `json:"actors"`

	Requests       int `json:"requests"`
	Allowed        int `json:"allowed"`
	Denied         int `json:"denied"`
	Attackers      int `json:"attackers"`
	Caught         int `json:"attackers_blocked"`
	Visitors       int `json:"visitors"`
	VisitorsDenied int `json:"visitors_denied"` // requests of theirs that were denied
	VisitorsHit    int `json:"visitors_blocked"`
	Guests         int `json:"guest_blocks"` // blocks of guests

	// Uncounted is what no rule could use, by type, rule and reason.
	Uncounted []uncounted.Tally `json:"uncounted,omitempty"`

	// OK: every attacker was blocked, and no visitor was blocked or denied.
	OK bool `json:"ok"`
}

// summary adds up.
func (l *ledger) summary(took time.Duration, interrupted bool) summary {
	s := summary{Type: typeSummary, Seconds: took.Seconds(), Interrupted: interrupted, Guests: l.guests}
	for _, t := range l.tallies {
		a := t.summary()
		s.Actors = append(s.Actors, a)
		s.Requests += a.Requests
		s.Allowed += a.Allowed
		s.Denied += a.Denied
		switch {
		case a.Attacker:
			s.Attackers++
			s.Caught += one(a.Blocked)
		default:
			s.Visitors++
			s.VisitorsHit += one(a.Blocked)
			s.VisitorsDenied += a.Denied
		}
	}
	s.OK = s.Caught == s.Attackers && s.VisitorsHit+s.VisitorsDenied == 0
	return s
}

func (t *tally) summary() actorSummary {
	a := actorSummary{
		Name: t.actor.name, Attacker: t.actor.hostile, Address: t.actor.address, User: t.actor.user,
		Requests: t.requests, Allowed: t.requests - t.denied, Denied: t.denied, Hostile: t.hostile, Blocked: !t.blockedAt.IsZero(), Rules: t.rules,
	}
	if a.Blocked && t.hostile > 0 {
		seconds := t.blockedAt.Sub(t.firstBad).Seconds()
		a.After = &seconds
	}
	return a
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
