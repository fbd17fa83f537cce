package window

import (
	"testing"
)

// TestClearsAreBounded: of many tags the newest clears are kept, and what was forgotten raises the
// floor to the newest of it; expired ones go without raising it.
func TestClearsAreBounded(t *testing.T) {
	t.Parallel()
	var c Clears
	for tag := uint64(1); tag <= 20; tag++ {
		c.Set(tag, int64(1000+tag))
		c.Set(tag, 500) // an older one changes nothing
	}
	if dropped := c.Limit(1006, 10); dropped != 5 || len(c.byTag) != 10 || c.Floor != 1010 {
		t.Errorf("dropped %d, kept %d, floor %d; want 5, 10, 1010: five had expired", dropped, len(c.byTag), c.Floor)
	}
	for tag := uint64(1); tag <= 20; tag++ {
		m := Record{At: int64(1000 + tag), Tag: tag, Member: 7}
		if got := c.covers(m); got != (tag > 10) {
			t.Errorf("tag %d: taken out is %t", tag, got)
		}
		if m.At++; c.covers(m) {
			t.Errorf("tag %d: what comes after the clear is taken out", tag)
		}
	}
	if dropped := c.Limit(0, 10); dropped != 0 || c.Floor != 1010 {
		t.Errorf("again: dropped %d, floor %d", dropped, c.Floor)
	}
	if dropped := c.Limit(2000, 10); dropped != 0 || len(c.byTag) != 0 || c.Floor != 1010 {
		t.Errorf("expired: dropped %d, kept %d, floor %d", dropped, len(c.byTag), c.Floor)
	}
}
