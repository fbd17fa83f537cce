package consumer

import (
	"slices"
	"testing"
	"time"
)

func TestRetryQueue(t *testing.T) {
	t.Parallel()
	start := time.Unix(0, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	items := func(ids ...string) []item {
		all := make([]item, len(ids))
		for i, id := range ids {
			all[i].ID = id
		}
		return all
	}
	var q retryQueue
	q.add(retry{due: at(1)}) // of nothing
	if _, ok := q.nextDue(); ok || q.items != 0 {
		t.Fatalf("an empty retry is kept: %+v", q)
	}
	q.add(retry{items: items("a", "b", "c"), attempts: 1, due: at(3)})
	q.add(retry{items: items("d"), attempts: 4, due: at(2)})
	q.add(retry{items: items("e", "f"), attempts: 2, due: at(2)})
	q.add(retry{items: items("g"), attempts: 9, due: at(9)})
	if due, ok := q.nextDue(); !ok || !due.Equal(at(2)) || q.items != 7 {
		t.Errorf("next at %s, %t, %d items", due, ok, q.items)
	}
	for _, step := range []struct {
		now, limit int
		ids        []string
		attempts   int
	}{
		{1, 10, nil, 0},                     // too early
		{2, 2, []string{"d"}, 4},            // another retry would be more than the limit
		{3, 2, []string{"a", "b", "c"}, 1},  // one retry is not split
		{9, 10, []string{"e", "f", "g"}, 9}, // several are merged
		{9, 10, nil, 0},                     // nothing is left
	} {
		got, attempts := q.takeDue(at(step.now), step.limit)
		var ids []string
		for _, it := range got {
			ids = append(ids, it.ID)
		}
		if !slices.Equal(ids, step.ids) || attempts != step.attempts {
			t.Errorf("at %d, at most %d: %v after %d attempts, want %v after %d", step.now, step.limit, ids, attempts, step.ids, step.attempts)
		}
	}
	if q.items != 0 || len(q.appendIDs(nil)) != 0 {
		t.Errorf("%d items are left", q.items)
	}
}

func TestInFlightTracksEntries(t *testing.T) {
	t.Parallel()
	f := &inFlight{}
	f.begin(itemsOf([]Entry{{ID: "1-0"}, {ID: "2-0"}}))
	f.finish(retry{items: itemsOf([]Entry{{ID: "2-0"}})})
	f.begin(itemsOf([]Entry{{ID: "3-0"}}))
	if ids := f.ids(); !slices.Equal(ids, []string{"3-0", "2-0"}) || f.waiting() != 1 {
		t.Errorf("in flight %v, %d wait", ids, f.waiting())
	}
	left := f.exclude([]Entry{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}})
	if len(left) != 1 || left[0].ID != "1-0" {
		t.Errorf("not in flight: %+v", left)
	}
}
