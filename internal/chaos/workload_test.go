package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

type kind int

const (
	loginFailed kind = iota
	loginOK
	clientError
	change   // of a sensitive field
	poison   // can't be decoded
	filtered // speaks of enforcement itself
	noise    // no rule looks at it, and it is shed when it is late
)

// An event is published once or more often; it has an ID of the producer's.
type event struct {
	kind          kind
	id            string
	subject, name string // address or user; the name that logged in
	session       string
	threshold     int // of the rule that counts client errors, when it was planned
}

// scopes are whom an event is about.
func (e *event) scopes() []string {
	switch e.kind {
	case loginFailed, loginOK, clientError:
		return []string{"ip:" + e.subject}
	case change:
		if e.session != "" {
			return []string{"user:" + e.subject, "session:" + e.session}
		}
		return []string{"user:" + e.subject}
	case poison, filtered, noise:
	}
	return nil
}

// counts is the rule that counts such events, and its threshold, or what would be that of the
// version at work.
func (e *event) counts() (rule string, threshold int) {
	switch e.kind {
	case clientError:
		return errorRule, e.threshold
	case loginFailed, loginOK:
		return lostRule, lostAt
	case change, poison, filtered, noise:
	}
	return "", 1
}

func (e *event) fields() []any {
	switch e.kind {
	case loginFailed:
		return []any{"event_type", "auth.login.failed", "source.address", e.subject, "user.name", e.name, "event_id", e.id}
	case loginOK:
		return []any{"event_type", "auth.login.success", "source.address", e.subject, "user.name", e.name, "event_id", e.id}
	case clientError:
		return []any{"event", fmt.Sprintf(`{"event_type":"http.response.client_error","source":{"address":%q},"event_id":%q}`, e.subject, e.id)}
	case change:
		return []any{"event_type", "model.update", "user.id", e.subject, "session.id", e.session, "changed_fields", `["email"]`, "event_id", e.id}
	case filtered:
		return []any{"event_type", "audit.enforcement.block_applied", "source.address", e.subject, "event_id", e.id}
	case noise:
		return []any{"event_type", "chaos.noise", "source.address", e.subject, "event_id", e.id}
	case poison:
	}
	if strings.HasSuffix(e.id, "7") {
		return []any{"event", `{"event_type":"auth.login.failed",`, "event_id", e.id}
	}
	return []any{"no", "type", "event_id", e.id}
}

// A plan is what is published in a round.
type plan struct {
	round   int
	random  *rand.Rand
	events  []*event
	made    int
	errorAt int // threshold of the version at work
}

func (p *plan) id() string {
	p.made++
	return fmt.Sprintf("e%d.%d", p.round, p.made)
}

func (p *plan) add(k kind, subject, name string, times int) {
	for range times {
		p.events = append(p.events, &event{kind: k, id: p.id(), subject: subject, name: name, threshold: p.errorAt})
	}
}

// A staged address logs in wrongly in one round, rightly in the next, and wrongly again in the one
// after.
type staged struct {
	addr  string
	stage int
}

// plan draws a round's events. Addresses stay just below a threshold or just reach it, so that one
// event lost, or one counted twice, shows.
func (w *world) plan(round int, random *rand.Rand) *plan {
	p := &plan{round: round, random: random, errorAt: w.version().errorAt}
	addr := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", round/250, round%250, i) }
	for i := range 6 + random.IntN(6) {
		p.add(loginFailed, addr(i), "eve", lostAt-1)
		p.add(loginFailed, addr(20+i), "eve", lostAt+random.IntN(2))
		p.add(clientError, addr(40+i), "", p.errorAt-1)
		p.add(clientError, addr(60+i), "", p.errorAt+random.IntN(3))
	}
	for i := range 10 {
		user := fmt.Sprintf("u%d-%d", round, i)
		p.events = append(p.events, &event{kind: change, id: p.id(), subject: user, session: []string{"", "s-" + user}[i%2]})
	}
	for i := range random.IntN(5) {
		p.add(poison, "", "", 1)
		p.add(filtered, addr(80+i), "", 1)
	}
	p.add(noise, addr(90), "", 30)
	p.events = append(p.events, w.nextStage(p)...)
	for i := range 4 {
		w.staged = append(w.staged, staged{addr: addr(100 + i)})
		p.add(loginFailed, addr(100+i), "mallory", lostAt-1)
	}
	for _, e := range p.events { // some producers send twice
		if e.kind != poison && random.IntN(8) == 0 {
			p.events = append(p.events, e)
		}
	}
	random.Shuffle(len(p.events), func(i, j int) { p.events[i], p.events[j] = p.events[j], p.events[i] })
	return p
}

// nextStage goes on with the addresses of earlier rounds.
func (w *world) nextStage(p *plan) []*event {
	out, still := []*event(nil), w.staged[:0:0]
	for i, s := range w.staged {
		times, k := lostAt-1+i%2, loginFailed
		if s.stage == 0 {
			times, k = 1, loginOK
			still = append(still, staged{s.addr, 1})
		}
		for range times {
			out = append(out, &event{kind: k, id: p.id(), subject: s.addr, name: "mallory"})
		}
	}
	w.staged = still
	return out
}

// publish publishes a round's events, a few at a time, each until Redis has acked it, as a producer
// does that must not lose any. published counts those that are.
func (w *world) publish(ctx context.Context, p *plan, published *atomic.Int64) {
	left := p.events
	for len(left) > 0 && ctx.Err() == nil {
		n := min(1+p.random.IntN(24), len(left))
		missing := w.publishSome(ctx, left[:n])
		published.Add(int64(n - len(missing)))
		left = append(missing, left[n:]...)
		pause := time.Duration(p.random.IntN(100)) * time.Millisecond
		if len(missing) > 0 {
			pause = 50 * time.Millisecond
		}
		wait(pause)
	}
}

// publishSome publishes events in one round trip and returns those that aren't acked.
func (w *world) publishSome(ctx context.Context, events []*event) (missing []*event) {
	w.publishing.Lock()
	defer w.publishing.Unlock()
	pipe := w.client().Pipeline()
	replies := make([]*redis.StringCmd, len(events))
	for i, e := range events {
		w.oracle.attempt(e, time.Now())
		replies[i] = pipe.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: e.fields()})
	}
	_, _ = pipe.Exec(ctx) // each has its own
	for i, e := range events {
		id, err := replies[i].Result()
		digits, _, _ := strings.Cut(id, "-")
		ms, _ := strconv.ParseInt(digits, 10, 64)
		if err != nil || ms == 0 {
			missing = append(missing, e)
			continue
		}
		w.oracle.acked(e, ms, time.Now())
	}
	return missing
}
