package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

// TestFutureDeliveryTimesAreClaimed: once Redis' clock was set back, what a dead consumer left
// is claimed all the same, and not once the clock has caught up.
func TestFutureDeliveryTimesAreClaimed(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedisWithClock(t)
	b := &fixture{t: t, url: env.URL, client: env.Client, prefix: env.Prefix, stream: env.Prefix + ":events"}
	if err := env.StepClock(time.Hour); err != nil {
		t.Fatal(err)
	}
	b.add(redatePage + 150) // more than a page
	left := b.deliver("dead", redatePage+150)
	b.client.XDel(t.Context(), b.stream, left[0])
	if err := env.StepClock(0); err != nil {
		t.Fatal(err)
	}
	o := b.options()
	o.ClaimMinIdle = 50 * time.Millisecond
	o.every = intervals{sample: 10 * time.Millisecond, trim: time.Hour, sweep: time.Hour, idle: time.Hour}
	h := &recorder{}
	w := b.start(o, h)
	b.allHandled(left[1:], h)
	for _, id := range left[1:] {
		if e := h.entry(id); e.Deliveries != 2 {
			t.Fatalf("%s: delivery %d, want 2", id, e.Deliveries)
		}
	}
	testenv.Eventually(t, patience, func() error { // and what was deleted is still known to be lost
		if got := w.metric("wardstream_entries_lost_total"); got != 1 {
			return fmt.Errorf("%v entries lost, want 1", got)
		}
		return nil
	})
}
