package chaos

import (
	"slices"
	"time"
)

// An oracle knows what must come of what was published, by counting alone. Its methods are called
// by one goroutine at a time: under world.publishing, or when nothing is published.
type oracle struct {
	scopes map[string]*scope    // by type:value
	poison map[string]*poisoned // by event_id
	replay bool                 // the stream was read from its start again: entries may be dead twice
	lost   losses               // what workers must count as lost in this round; what goes with its stream leaves nothing to count
	mixing bool                 // workers of two versions are at work
	rolled bool                 // there have been two
	uneven bool                 // Postgres takes what one worker writes and not what another does, or doesn't say so
}

// A scope is a client that may be blocked.
type scope struct {
	rule      string // "" if one event is enough, for good
	threshold int
	facts     []*fact
	must, may bool // it must be blocked, it may be
	unblocked bool // by an operator, which stands
	announced bool // its block was published
	twice     bool // its block may have been lost and have begun again
	unsure    bool // Redis may have lost the event of its block
	uncopied  bool // Redis may have lost the key of a permanent block, which the membership hash makes up for
	mixed     bool // versions with two thresholds may have counted
}

// A fact is an event published about a scope, as often as it was.
type fact struct {
	id, name string
	clears   bool      // a login success
	times    []int64   // of entries, in ms, as far as they are known
	since    time.Time // of the first attempt to publish
	sure     bool      // Redis has, or had, an entry of it, which the group will have or had
	settled  bool      // it was handled in a round before
	astray   bool      // Redis gave an entry another time than it was, so that it may count as of when it was handled
}

type poisoned struct {
	attempts      int
	sure, settled bool
}

func newOracle() *oracle {
	return &oracle{scopes: map[string]*scope{}, poison: map[string]*poisoned{}}
}

// attempt notes that an event is about to be published, which may have an effect whatever Redis
// answers.
func (o *oracle) attempt(e *event, now time.Time) {
	if e.kind == poison {
		p := o.poison[e.id]
		if p == nil {
			p = &poisoned{}
			o.poison[e.id] = p
		}
		p.attempts++
		return
	}
	for _, name := range e.scopes() {
		s := o.scopes[name]
		if s == nil {
			s = &scope{}
			s.rule, s.threshold = e.counts()
			o.scopes[name] = s
		}
		if s.fact(e.id) == nil {
			s.facts = append(s.facts, &fact{id: e.id, name: e.name, clears: e.kind == loginOK, since: now})
		}
	}
}

// maxStep is how far Redis' clock may be off.
const maxStep = 5 * time.Minute

// acked notes that Redis has an entry of the event, with this time.
func (o *oracle) acked(e *event, ms int64, now time.Time) {
	if e.kind == poison {
		o.poison[e.id].sure = true
		return
	}
	for _, name := range e.scopes() {
		f := o.scopes[name].fact(e.id)
		f.sure, f.times = true, append(f.times, ms)
		f.astray = f.astray || now.Sub(time.UnixMilli(ms)).Abs() > 2*time.Second
	}
}

func (s *scope) fact(id string) *fact {
	if i := slices.IndexFunc(s.facts, func(f *fact) bool { return f.id == id }); i >= 0 {
		return s.facts[i]
	}
	return nil
}

// bounds are how many members the window holds, at least and at most.
func (s *scope) bounds() (low, high int) {
	for _, f := range s.facts {
		if f.clears {
			continue
		}
		if f.sure && !s.cleared(f, false) {
			low++
		}
		if !s.cleared(f, true) {
			high++
		}
	}
	return low, high
}

// cleared reports whether a success came after f: one that is sure to have, or any. Failures and a
// success of one scope are never published in one round, so that the order of their handling
// doesn't matter.
func (s *scope) cleared(f *fact, surely bool) bool {
	at := slices.Index(s.facts, f)
	return slices.ContainsFunc(s.facts[at:], func(c *fact) bool { return c.clears && c.name == f.name && (c.sure || !surely) })
}

// judge notes which scopes must be blocked by now, and which may be.
func (o *oracle) judge() {
	for _, s := range o.scopes {
		low, high := s.bounds()
		s.twice = s.twice || o.uneven && s.rule == "" && s.fresh()
		s.mixed = s.mixed || o.mixing && s.rule == errorRule && s.fresh()
		if s.mixed { // what each version has counted is to be seen, and one may find no reason to publish the other's block
			s.may, s.unsure = s.may || high > 0, true
			continue
		}
		s.must = s.must || low >= s.threshold
		s.may = s.may || high >= s.threshold
	}
}

// fresh reports whether anything of s hasn't been handled in a round before.
func (s *scope) fresh() bool {
	return slices.ContainsFunc(s.facts, func(f *fact) bool { return !f.settled })
}

// observe judges a scope of which two versions have counted a part each, by what each has: it may
// be blocked if that is enough for one of them, and must be if it is for the one at work. What the
// other has counted it may not have got to judge.
func (s *scope) observe(sizes map[string]int, versions [2]version, current int) {
	if slices.ContainsFunc(s.facts, func(f *fact) bool { return !f.sure }) {
		return
	}
	s.may = s.must
	for hash, n := range sizes {
		v := versionOf(hash, versions)
		s.may = s.may || n >= versions[v].errorAt
		s.must = s.must || v == current && n >= versions[v].errorAt && s.fresh()
	}
}

// expiry is between when a block must end, if it is one that ends. The entry handled last has found
// all members there, the one before it all but one, and so on: in whatever order they were handled,
// as many entries as there are members above the threshold, and one, have matched.
func (s *scope) expiry() (low, high time.Time) {
	var times []int64
	members := 0
	for _, f := range s.facts {
		if f.clears || s.cleared(f, false) {
			continue
		}
		members++
		times = append(times, f.times...)
	}
	slices.Sort(times)
	if len(times) == 0 {
		return low, high
	}
	at := min(max(members-s.threshold, 0), len(times)-1)
	if s.mixed {
		at = 0
	}
	low, high = time.UnixMilli(times[at]).Add(blockTTL), time.UnixMilli(times[len(times)-1]).Add(blockTTL)
	if slices.ContainsFunc(s.facts, func(f *fact) bool { return f.astray }) {
		low, high = low.Add(-2*maxStep), high.Add(2*maxStep)
	}
	return low, high
}

// uncertain reports whether anything about s is.
func (s *scope) uncertain() bool {
	return s.may != s.must || slices.ContainsFunc(s.facts, func(f *fact) bool { return !f.sure })
}

// settle notes that everything published so far was handled.
func (o *oracle) settle() {
	for _, s := range o.scopes {
		for _, f := range s.facts {
			f.settled = true
		}
	}
	for _, p := range o.poison {
		p.settled = true
	}
	o.lost, o.mixing, o.uneven = losses{}, false, false
}

// loseStream notes that what is in the stream and not handled yet is lost, unless it was handled
// meanwhile.
func (o *oracle) loseStream() {
	for _, s := range o.scopes {
		for _, f := range s.facts {
			f.sure = f.sure && f.settled
		}
	}
	for _, p := range o.poison {
		p.sure = p.sure && p.settled
	}
}

// replayed notes that the stream is read from its start again, by whatever version is at work.
func (o *oracle) replayed() {
	o.replay = true
	for _, s := range o.scopes {
		s.mixed = s.mixed || o.rolled && s.rule == errorRule
	}
}

// loseRedis notes that Redis has lost everything: what was counted, temporary blocks, dead letters.
// Permanent blocks are in Postgres.
func (o *oracle) loseRedis() {
	o.loseStream()
	for id, p := range o.poison {
		if p.settled {
			delete(o.poison, id)
		}
	}
	for name, s := range o.scopes {
		if s.rule == "" {
			s.twice, s.unsure = true, !s.announced
			continue
		}
		s.facts = slices.DeleteFunc(s.facts, func(f *fact) bool { return f.settled })
		s.must, s.may, s.announced, s.twice = false, false, false, true
		if len(s.facts) == 0 && !s.unblocked {
			delete(o.scopes, name)
		}
	}
}
