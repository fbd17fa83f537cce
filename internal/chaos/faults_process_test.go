package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// processFaults are those of the workers themselves.
func processFaults() []fault {
	return []fault{
		{name: "kill workers", do: func(_ context.Context, w *world, r *rand.Rand) (func() error, error) {
			w.endSome(r, syscall.SIGKILL)
			return nil, nil
		}},
		{name: "terminate workers", do: func(_ context.Context, w *world, r *rand.Rand) (func() error, error) {
			w.endSome(r, syscall.SIGTERM)
			return nil, nil
		}},
		{name: "freeze workers", do: freeze},
	}
}

// endSome ends one worker after the other and puts others in their places, under the same names or
// new ones.
func (w *world) endSome(r *rand.Rand, sig syscall.Signal) {
	for range 2 + r.IntN(4) {
		all := w.running()
		victim := all[r.IntN(len(all))]
		name := victim.name
		if r.IntN(3) == 0 {
			name = w.newName()
		}
		w.line.add("%s gets %s", victim.name, sig)
		victim.End(sig)
		w.replace(victim, name)
		wait(between(r, 20*time.Millisecond, 400*time.Millisecond))
	}
}

// freeze stops workers for longer than it takes until others claim their in-flight entries, and
// lets them go on. They have a lot of garbage in flight, so that some stop between reading it and
// making dead letters of it.
func freeze(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
	all := w.running()
	frozen := all[:1+r.IntN(len(all)-1)]
	w.litter(ctx)
	for _, d := range frozen {
		w.line.add("%s is frozen", d.name)
		d.Signal(syscall.SIGSTOP)
	}
	wait(claimMinIdle + between(r, 0, 2*claimMinIdle))
	return func() error {
		for _, d := range frozen {
			d.Signal(syscall.SIGCONT)
		}
		return nil
	}, nil
}

// litter gives the workers a lot of garbage to do.
func (w *world) litter(ctx context.Context) {
	garbage := make([]*event, 100)
	for i := range garbage {
		w.garbage++
		garbage[i] = &event{kind: poison, id: fmt.Sprintf("g%d", w.garbage)}
	}
	w.publishSome(ctx, garbage)
}
