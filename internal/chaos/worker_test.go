package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A worker is a detector process, which may not have started yet, or have ended.
type worker struct {
	name    string // of its consumer
	cmd     *exec.Cmd
	started chan struct{} // closed once it works
	exited  chan struct{} // closed once it is gone
	addr    string        // of its metrics; set before started is closed

	mu     sync.Mutex
	log    []string // the last lines
	ending bool     // it has been told to end
}

// logKept is how many lines of each worker's log a failure shows.
const logKept = 15

// launch starts a worker and sees to it that there is one until it is told to end: one that finds a store
// out of reach when it starts gives up, and whoever runs it tries again. w.mu is held.
func (w *world) launch(name string) *worker {
	d := &worker{name: name, started: make(chan struct{}), exited: make(chan struct{})}
	v := w.versions[w.current]
	d.cmd = exec.Command(v.program, "run", "--config", v.config, "--consumer", name)
	d.cmd.Env = w.env
	stderr, err := d.cmd.StderrPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		w.t.Errorf("start worker %s: %v", name, err)
		close(d.exited)
		return d
	}
	w.line.add("%s starts (%d, %s)", name, d.cmd.Process.Pid, v.number)
	go func() {
		d.follow(stderr)
		_ = d.cmd.Wait() // its state says how it ended
		close(d.exited)
		w.ended(d)
	}()
	return d
}

// follow reads the log.
func (d *worker) follow(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d.mu.Lock()
		if d.log = append(d.log, lines.Text()); len(d.log) > logKept {
			d.log = d.log[1:]
		}
		d.mu.Unlock()
		var entry struct {
			Msg  string
			Addr string `json:"http_addr"`
		}
		if bytes.Contains(lines.Bytes(), []byte("detector started")) && json.Unmarshal(lines.Bytes(), &entry) == nil && !d.working() {
			d.addr = entry.Addr
			close(d.started)
		}
	}
}

// ended replaces a worker that could not start. One that had started and ends by itself has crashed.
func (w *world) ended(d *worker) {
	d.mu.Lock()
	ending := d.ending
	d.mu.Unlock()
	code := d.cmd.ProcessState.ExitCode()
	w.line.add("%s is gone: exit %d", d.name, code)
	switch {
	case ending:
	case d.working():
		w.fail("worker %s ended by itself, exit %d", d.name, code)
	default:
		wait(200 * time.Millisecond)
		w.replace(d, d.name)
	}
}

func (d *worker) working() bool { return closed(d.started) }

func (d *worker) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.log, "\n")
}

// signal sends a signal; those that end the process are expected to.
func (d *worker) signal(sig syscall.Signal) {
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		d.mu.Lock()
		d.ending = true
		d.mu.Unlock()
	}
	_ = d.cmd.Process.Signal(sig) // it may be gone
	if sig == syscall.SIGTERM {
		_ = d.cmd.Process.Signal(syscall.SIGCONT) // it may be frozen, and would never end
	}
}

// replace puts a new worker in d's place, unless somebody has, or the world ends.
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

// metrics reads a worker's metrics: the sums of series by name, and by name and labels.
func (d *worker) metrics() (map[string]float64, error) {
	if !d.working() {
		return nil, fmt.Errorf("worker %s hasn't started", d.name)
	}
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get("http://" + d.addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	out := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		series, text, _ := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if name, labels, _ := strings.Cut(series, "{"); err == nil {
			out[name] += value
			if labels != "" {
				out[series] += value
			}
		}
	}
	return out, lines.Err()
}

// sum adds up what all workers say of a metric, of those series whose labels hold label.
func (w *world) sum(name, label string) (float64, error) {
	total := 0.0
	for _, d := range w.running() {
		values, err := d.metrics()
		if err != nil {
			return 0, err
		}
		for series, v := range values {
			base, labels, _ := strings.Cut(series, "{")
			if base == name && labels != "" && strings.Contains(labels, label) {
				total += v
			}
		}
	}
	return total, nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wait waits.
func wait(d time.Duration) { <-time.After(d) }
