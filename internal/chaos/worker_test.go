package chaos

import (
	"os/exec"
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/daemontest"
)

// A worker is a detector process, which may not have started yet, or have ended.
type worker struct {
	*daemontest.Process

	name string // of its consumer
}

// launch starts a worker and sees to it that there is one until it is stopped: one that finds a
// store out of reach when it starts gives up, and is started again. w.mu is held.
func (w *world) launch(name string) *worker {
	d := &worker{name: name}
	v := w.versions[w.current]
	cmd := exec.Command(v.program, "run", "--config", v.config, "--consumer", name)
	cmd.Env = w.env
	var err error
	if d.Process, err = daemontest.Start(cmd, func(p *daemontest.Process) { w.ended(d, p) }); err != nil {
		w.t.Errorf("start worker %s: %v", name, err)
		return d
	}
	w.line.add("%s starts (%d, %s)", name, d.PID(), v.number)
	return d
}

// ended replaces a worker that could not start. One that had started and ends by itself has
// crashed.
func (w *world) ended(d *worker, p *daemontest.Process) {
	w.line.add("%s is gone: exit %d", d.name, p.ExitCode())
	switch {
	case p.Ending():
	case p.Working():
		w.fail("worker %s ended by itself, exit %d", d.name, p.ExitCode())
	default:
		wait(200 * time.Millisecond)
		w.replace(d, d.name)
	}
}

// replace puts a new worker in d's place, unless another goroutine has, or the world ends.
func (w *world) replace(d *worker, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.workers, d); i >= 0 && !w.over {
		w.workers[i] = w.launch(name)
	}
}

// running returns the workers.
func (w *world) running() []*worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.workers)
}

// wait waits.
func wait(d time.Duration) { <-time.After(d) }
