package soak

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// The rules of the detectors, and how long their windows and blocks are.
const (
	guessRule, guessAt = "brute_force_login", 5
	scanRule, scanAt   = "repeated_client_error", 10
	crawlRule, crawlAt = "resource_enumeration", 10
	changeRule         = "sensitive_field_change"
)

type kind int

const (
	visitor  kind = iota // looks around, mistypes a password, never does enough of anything
	guesser              // fails to log in often enough
	scanner              // makes enough client errors
	crawler              // asks for enough different resources: alerted of, not blocked
	changer              // changes a sensitive field: blocked for good
	garbled              // publishes what is not an event
	filtered             // publishes what speaks of enforcement itself
)

// An actor publishes its events one after the other and is gone then.
type actor struct {
	kind    kind
	name    string // address, or user
	left    [][]string
	first   time.Time // by the stream's clock: when it began
	last    time.Time // and ended
	sent    time.Time // by ours: when its last event was about to be sent
	session string
}

// A crowd draws actors, the same ones for the same seed. Each kind has a pool, from which all are
// taken in turn.
type crowd struct {
	random *rand.Rand
	pools  map[kind]int // sizes
	next   map[kind]int
	made   int // actors
	events int // event_ids given
	every  int // actors from one changer to the next
}

// newCrowd returns a crowd for so many events a second: mean is the events of an actor, so that
// rate/mean come in a second. A visitor's turn comes every half minute then, so that the logs of
// its windows are soon as long as they get.
func newCrowd(seed uint64, rate int) *crowd {
	const mean = 10
	return &crowd{
		random: rand.New(rand.NewPCG(seed, 0)), next: map[kind]int{}, every: max(4*rate/mean, 1),
		pools: map[kind]int{visitor: visitors(rate), guesser: rate, scanner: max(rate/2, 1), crawler: max(rate/2, 1), changer: 60, garbled: 1, filtered: 1},
	}
}

func visitors(rate int) int { return 3 * rate }

// draw returns the next actor.
func (c *crowd) draw() *actor {
	c.made++
	k := visitor
	switch p := c.random.IntN(100); {
	case c.made <= int(filtered): // one of each is there from the start
		k = kind(c.made)
	case c.made%c.every == c.every/2:
		k = changer
	case p < 4:
		k = guesser
	case p < 6:
		k = scanner
	case p < 8:
		k = crawler
	case p < 9:
		k = garbled
	case p < 10:
		k = filtered
	}
	n := c.next[k] % c.pools[k]
	c.next[k]++
	a := &actor{kind: k, name: address(k, n)}
	if k == changer {
		a.name, a.session = "u"+strconv.Itoa(n), "s"+strconv.Itoa(n)
	}
	c.act(a, n)
	return a
}

func address(k kind, n int) string { return fmt.Sprintf("%d.%d.%d.%d", 20+k, n>>16, n>>8&255, n&255) }

// act says what the n-th of its kind does. What a visitor does is always the same, so that its
// windows are always the same.
func (c *crowd) act(a *actor, n int) {
	from := []string{"source.address", a.name}
	switch a.kind {
	case visitor:
		from = append(from, "user.id", "v"+strconv.Itoa(n), "session.id", fmt.Sprintf("%032x", n))
		for i := range 4 + n%5 {
			c.page(a, from, i%3)
		}
		for range n % 2 * 4 {
			c.add(a, append(from, "event_type", "http.response.client_error", "http.response.status_code", "404"))
		}
		if n%3 == 0 {
			for range 2 {
				c.add(a, append(from, "event_type", "auth.login.failed", "user.name", "name"+a.name))
			}
			c.add(a, append(from, "event_type", "auth.login.success", "user.name", "name"+a.name))
		}
	case guesser:
		for range guessAt + c.random.IntN(3) {
			c.add(a, append(from, "event_type", "auth.login.failed", "user.name", "eve"))
		}
	case scanner:
		for range scanAt + c.random.IntN(3) {
			c.add(a, append(from, "event_type", "http.response.client_error", "http.response.status_code", "404"))
		}
	case crawler:
		for i := range crawlAt + c.random.IntN(3) {
			c.page(a, from, i)
		}
	case changer:
		c.add(a, []string{"event_type", "model.update", "user.id", a.name, "session.id", a.session, "changed_fields", `["email"]`})
	case garbled:
		a.left = append(a.left, []string{"no", "type"})
	case filtered:
		c.add(a, append(from, "event_type", "audit.enforcement.block_applied"))
	}
}

func (c *crowd) page(a *actor, from []string, order int) {
	c.add(a, append(from, "event_type", "http.response.success", "http.response.status_code", "200", "http.request.method", "GET",
		"http.route", "/orders/<int:id>/", "url.path", "/orders/"+strconv.Itoa(order)+"/", "duration_ns", strconv.Itoa(c.random.IntN(90_000_000))))
}

// add gives a an event, as an object every other time; one in twenty is sent twice, as some
// producers do.
func (c *crowd) add(a *actor, attributes []string) {
	c.events++
	attributes = append(attributes[:len(attributes):len(attributes)], "event_id", "e"+strconv.Itoa(c.events))
	if c.events%2 == 0 && a.kind != changer { // changed_fields is a list there
		attributes = object(attributes)
	}
	a.left = append(a.left, attributes)
	if c.random.IntN(20) == 0 {
		a.left = append(a.left, attributes)
	}
}

// object is the entry that carries the attributes as one JSON object.
func object(attributes []string) []string {
	o := make(map[string]string, len(attributes)/2)
	for i := 0; i+1 < len(attributes); i += 2 {
		o[attributes[i]] = attributes[i+1]
	}
	raw, _ := json.Marshal(o) // strings always can be
	return []string{"event", string(raw)}
}
