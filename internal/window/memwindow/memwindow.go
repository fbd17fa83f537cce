// Package memwindow stores windows in memory. It is the reference for other window stores and is
// used without Redis.
package memwindow

import (
	"context"
	"sync"
	"time"

	"github.com/wardstream/wardstream/internal/window"
)

// Store is a window.Store in memory. Windows are deleted after their TTL.
type Store struct {
	now func() time.Time

	mu      sync.Mutex
	windows map[key]entry
	swept   time.Time
}

type key struct{ spec, group string }

type entry struct {
	log     string
	clears  window.Clears
	expires time.Time
}

// sweepEvery bounds how long an expired window can stay in memory.
const sweepEvery = time.Minute

// New returns an empty store with the clock now.
func New(now func() time.Time) *Store {
	return &Store{now: now, windows: map[key]entry{}}
}

// Apply implements window.Store. Its only error is window.ErrNeverCleared.
func (s *Store) Apply(_ context.Context, ops []window.Op) ([]window.Count, error) {
	counts := make([]window.Count, len(ops))
	batch := window.Group(ops)
	if err := batch.Check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.sweep(now)
	for _, w := range batch.Windows {
		k := key{w.Spec.ID(), w.Group}
		held := s.windows[k]
		if !now.Before(held.expires) {
			held = entry{}
		}
		view := window.Replay(w.Spec, held.log, held.clears)
		batch.Judge(w, view, counts)
		clears, _ := batch.Clears(w)
		for _, c := range clears {
			held.clears.Set(c.Tag, c.At)
			held.clears.Limit(c.At-w.Spec.TTL().Milliseconds(), w.Spec.ClearLimit())
		}
		if len(batch.Additions(w)) > 0 {
			s.windows[k] = entry{log: string(view.Compact(nil)), clears: held.clears, expires: now.Add(w.Spec.TTL())}
		}
	}
	return counts, nil
}

// Recount implements window.Store. It never fails.
func (s *Store) Recount(_ context.Context, ops []window.Op) ([]window.Count, error) {
	counts := make([]window.Count, len(ops))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ops {
		held := s.windows[key{ops[i].Spec.ID(), ops[i].Group}]
		if s.now().Before(held.expires) {
			counts[i] = window.Recount(&ops[i], held.log, &held.clears)
		}
	}
	return counts, nil
}

func (s *Store) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for k, e := range s.windows {
		if !now.Before(e.expires) {
			delete(s.windows, k)
		}
	}
}
