package memwindow_test

import (
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/memwindow"
	"github.com/wardstream/wardstream/internal/window/windowtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	windowtest.Run(t, func(*testing.T) func() window.Store {
		s := memwindow.New(time.Now)
		return func() window.Store { return s }
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	windowtest.Model(t, func(*testing.T) func() window.Store {
		s := memwindow.New(time.Now)
		return func() window.Store { return s }
	})
}

func TestWindowsExpire(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	s := memwindow.New(func() time.Time { return now })
	spec := &window.Spec{Name: "r", Threshold: 2, Length: time.Minute}
	op := window.Op{Spec: spec, Group: "g", Time: now, Member: "a"}
	for _, step := range []struct {
		member string
		want   int
	}{{"a", 1}, {"b", 2}} {
		op.Member = step.member
		if counts, _ := s.Apply(t.Context(), []window.Op{op}); counts[0].Size != step.want {
			t.Fatalf("count %d, want %d", counts[0].Size, step.want)
		}
	}
	now = now.Add(spec.TTL())
	op.Member = "c"
	if counts, _ := s.Apply(t.Context(), []window.Op{op}); counts[0].Size != 1 {
		t.Fatalf("count %d after the window's TTL, want 1", counts[0].Size)
	}
}
