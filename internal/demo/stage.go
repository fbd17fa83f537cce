package demo

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sourcegraph/conc/pool"
)

// A happening is a visit or a sighting: the other is nil.
type happening struct {
	visit    *visit
	sighting *sighting
}

// A stage is a world that works, with actors in it or none.
type stage struct {
	happened chan happening // closed when all is over
	end      func()         // has it come to an end
	err      error          // once happened is closed: what went wrong
}

// raise starts a stage, which goes on until ctx ends, it is asked to end, or
// something fails. The caller must receive until happened is closed.
func raise(ctx context.Context, w *world, actors []*actor, pace float64) *stage {
	s := &stage{happened: make(chan happening)}
	ctx, s.end = context.WithCancel(ctx)
	go func() {
		defer close(s.happened)
		defer s.end()
		s.err = s.run(ctx, w, actors, pace)
	}()
	return s
}

// run ends in order: the actors first, then the worker, which passes on what it
// knows, then the watchers of that.
func (s *stage) run(ctx context.Context, w *world, actors []*actor, pace float64) error {
	aside := context.WithoutCancel(ctx)
	working, stopWork := context.WithCancel(aside)
	defer stopWork()
	watching, stopWatch := context.WithCancel(aside)
	defer stopWatch()
	worked := s.do(func() error { return w.run(working) })
	watched := s.do(func() error {
		return w.watcher().watch(watching, func(ctx context.Context, seen sighting) error {
			s.happened <- happening{sighting: &seen}
			return w.obey(ctx, seen)
		})
	})
	err := s.perform(ctx, w, actors, pace)
	stopWork()
	err = errors.Join(err, <-worked)
	stopWatch()
	return errors.Join(err, <-watched)
}

// do does something beside everything else, which ends with it.
func (s *stage) do(part func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- part()
		s.end()
	}()
	return done
}

// perform has the actors act until ctx ends.
func (s *stage) perform(ctx context.Context, w *world, actors []*actor, pace float64) error {
	transport := &http.Transport{MaxIdleConnsPerHost: len(actors)}
	defer transport.CloseIdleConnections()
	shop := &shop{
		ask: &http.Client{Transport: transport}, door: w.door(), events: w.client, stream: w.cfg.Stream.Names[0], now: time.Now,
	}
	cast := pool.New().WithContext(ctx).WithCancelOnError()
	for _, a := range actors {
		cast.Go(func(ctx context.Context) error {
			return shop.act(ctx, a, pace, func(v visit) { s.happened <- happening{visit: &v} })
		})
	}
	err := cast.Wait()
	<-ctx.Done()
	return err
}
