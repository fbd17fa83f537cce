package demo

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// story is what an actor does in its first n steps if nothing stops it.
func story(a *actor, n int) []step {
	steps := make([]step, n)
	for i := range steps {
		steps[i] = a.next(i, 0)
	}
	return steps
}

func TestSameSeedSameEvents(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{0, 1, 42} {
		a, b := newActors(seed), newActors(seed)
		for i := range a {
			if !reflect.DeepEqual(story(a[i], 200), story(b[i], 200)) {
				t.Errorf("seed %d: %s does other things the second time", seed, a[i].name)
			}
			a[i].next, b[i].next = nil, nil
			if !reflect.DeepEqual(a[i], b[i]) {
				t.Errorf("seed %d: %+v is %+v the second time", seed, a[i], b[i])
			}
		}
	}
	if one, other := newActors(1), newActors(2); one[0].address == other[0].address && one[1].address == other[1].address {
		t.Error("another seed brings the same people")
	}
}

func TestActorsAreDistinct(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		actors := newActors(seed)
		seen := map[string]bool{guestAddress: true}
		visitors := 0
		for _, a := range actors {
			if !a.hostile {
				visitors++
			}
			if a.name == "insider" {
				if a.address != actors[0].address {
					t.Errorf("seed %d: the insider shares no address", seed)
				}
				continue
			}
			if seen[a.address] || seen[a.name] {
				t.Errorf("seed %d: %s at %s is there twice", seed, a.name, a.address)
			}
			seen[a.address], seen[a.name] = true, true
		}
		if visitors != 5 || len(actors) != 9 {
			t.Errorf("seed %d: %d visitors of %d", seed, visitors, len(actors))
		}
	}
}

// TestVisitorsStayBelowThresholds: whatever the seed, visitors stay below every threshold, also
// when the demo goes on for an hour.
func TestVisitorsStayBelowThresholds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		for _, a := range newActors(seed) {
			if a.hostile {
				continue
			}
			visitorIsHarmless(t, seed, a)
		}
	}
}

func visitorIsHarmless(t *testing.T, seed uint64, a *actor) {
	t.Helper()
	const window = 5 * time.Minute
	products, missed, failures, logins := map[string]bool{}, []time.Duration(nil), 0, 0
	now := time.Duration(0)
	for n := 0; now < time.Hour; n++ {
		s := a.next(n, 0)
		now += s.wait
		switch s.fields[1] {
		case "auth.login.failed":
			failures++
		case "auth.login.success":
			logins++
		case "http.response.client_error":
			missed = append(missed, now)
		case "http.response.success":
			if slices.Contains(s.fields, "/products/{id}") {
				products[s.path] = true
			}
		default:
			t.Errorf("seed %d: a visitor causes %s", seed, s.fields[1])
		}
		if s.hostile {
			t.Errorf("seed %d: a visitor is hostile: %+v", seed, s)
		}
	}
	if failures > 1 || logins != 1 || len(products) == 0 || len(products) >= 20 {
		t.Errorf("seed %d: %s has %d failures, %d logins and saw %d products", seed, a.name, failures, logins, len(products))
	}
	for i := range missed {
		if i >= 19 && missed[i]-missed[i-19] < window {
			t.Fatalf("seed %d: %s has 20 client errors in %s", seed, a.name, missed[i]-missed[i-19])
		}
	}
}

// TestAttackersReachThresholdInTime: at the full pace each of them has done enough to be caught,
// with time left to be denied.
func TestAttackersReachThresholdInTime(t *testing.T) {
	t.Parallel()
	enough := map[string]int{"brute-forcer": 5, "scanner": 20, "crawler": 20, "insider": 1}
	for seed := range uint64(20) {
		for _, a := range newActors(seed) {
			if !a.hostile {
				continue
			}
			var now time.Duration
			different := map[string]bool{}
			for n, bad := 0, 0; bad < enough[a.name]; n++ {
				s := a.next(n, 0)
				now += s.wait
				if s.hostile {
					bad++
					different[s.path+fmt.Sprint(bad*one(a.name != "crawler"))] = true
				}
			}
			if len(different) != enough[a.name] || now > fullPace*2/3 {
				t.Errorf("seed %d: %s takes %s for %d attacks", seed, a.name, now, len(different))
			}
		}
	}
}

func TestInsiderMovesOnceDenied(t *testing.T) {
	t.Parallel()
	actors := newActors(1)
	a := actors[len(actors)-1]
	before, after := a.next(5, 2), a.next(6, 3)
	if a.from(before) != a.address || a.from(after) == a.address || after.note == "" {
		t.Errorf("from %s, then from %s (%q)", a.from(before), a.from(after), after.note)
	}
	if fields := a.event(after); !slices.Contains(fields, a.user) || !slices.Contains(fields, a.session) || len(fields)%2 != 0 {
		t.Errorf("its event is %q", fields)
	}
}

func TestDeniedAttackerSlowsDown(t *testing.T) {
	t.Parallel()
	last := time.Duration(0)
	for _, times := range []int{0, 1, 8, 40} {
		wait := knock(rushed, times)
		if wait <= last || wait > 5*rushed {
			t.Errorf("after %d denials %s, before %s", times, wait, last)
		}
		last = wait
	}
}
