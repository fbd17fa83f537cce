package checker

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestDeadlineBuckets: deadlines are never later than the timeout, at most one bucket width
// earlier, and shared.
func TestDeadlineBuckets(t *testing.T) {
	t.Parallel()
	m := deadlines{timeout: 32 * time.Hour}
	const width = 2 * time.Hour
	different := map[*deadlineBucket]bool{}
	for i := range 64 {
		begin := t0.Add(time.Duration(i) * width / 4)
		end := m.after(begin)
		if wait := end.at.Sub(begin); wait > m.timeout || wait <= m.timeout-width {
			t.Errorf("begun at %v: %v left of %v", begin, wait, m.timeout)
		}
		different[end] = true
	}
	if n := len(different); n > 17 {
		t.Errorf("%d deadlines in 16 buckets", n)
	}
}

// TestBoundedContext: it ends at its deadline, with its parent's values and without its
// cancellation.
func TestBoundedContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	cancel()
	m := deadlines{timeout: 20 * time.Millisecond}
	ctx := bounded{parent, m.after(time.Now())}
	if at, ok := ctx.Deadline(); !ok || !at.Equal(ctx.end.at) || ctx.Value(key{}) != "v" {
		t.Errorf("deadline %v, value %v", at, ctx.Value(key{}))
	}
	<-ctx.Done()
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	child, stop := context.WithTimeout(bounded{parent, (&deadlines{timeout: time.Hour}).after(time.Now())}, time.Hour)
	defer stop()
	if err := child.Err(); err != nil {
		t.Errorf("the parent's end reaches it: %v", err)
	}
}
