package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// A worker is a running detector.
type worker struct {
	t    testing.TB
	cmd  *exec.Cmd
	addr string     // of its metrics
	done chan int   // exit codes
	out  lineBuffer // standard output
	log  lineBuffer // standard error
}

// A lineBuffer holds lines as they come.
type lineBuffer struct {
	mu    sync.Mutex
	lines []string
}

func (b *lineBuffer) read(r io.Reader, each func(string)) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		b.mu.Lock()
		b.lines = append(b.lines, lines.Text())
		b.mu.Unlock()
		each(lines.Text())
	}
}

func (b *lineBuffer) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.lines...)
}

func (b *lineBuffer) String() string { return strings.Join(b.all(), "\n") }

// start starts a worker of the installation and waits until it has started.
func (in *installation) start(args ...string) *worker {
	in.t.Helper()
	w := in.launch(args...)
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	w.follow(stdout)
	return w
}

// launch prepares a worker.
func (in *installation) launch(args ...string) *worker {
	w := &worker{t: in.t, done: make(chan int, 1)}
	w.cmd = exec.Command(program("detector"), append([]string{"run", "--config", in.file}, args...)...)
	w.cmd.Env = in.env
	return w
}

// follow starts the process and follows what it prints; without stdout only its log.
func (w *worker) follow(stdout io.Reader) {
	w.t.Helper()
	stderr, err := w.cmd.StderrPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	started := make(chan string, 1)
	var reading sync.WaitGroup
	if stdout != nil {
		reading.Go(func() { w.out.read(stdout, func(string) {}) })
	}
	reading.Go(func() { w.log.read(stderr, func(line string) { tellStart(line, started) }) })
	go func() {
		reading.Wait()
		_ = w.cmd.Wait()
		close(started)
		w.done <- w.cmd.ProcessState.ExitCode()
	}()
	var ok bool
	if w.addr, ok = <-started; !ok {
		w.t.Fatalf("it ended at once: %s", &w.log)
	}
}

// tellStart looks for the line that says where metrics are.
func tellStart(line string, started chan<- string) {
	var entry struct {
		Msg  string
		Addr string `json:"http_addr"`
	}
	if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "detector started" {
		started <- entry.Addr
	}
}

func (w *worker) signal(sig syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil {
		w.t.Fatal(err)
	}
}

// stop ends the worker in good order.
func (w *worker) stop() {
	w.t.Helper()
	w.signal(syscall.SIGTERM)
	if code := <-w.done; code != 0 {
		w.t.Fatalf("exit %d after SIGTERM: %s", code, &w.log)
	}
}

func (w *worker) get(path string) (status int, body string) {
	w.t.Helper()
	status, body, err := w.tryGet(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return status, body
}

func (w *worker) tryGet(path string) (status int, body string, err error) {
	res, err := http.Get("http://" + w.addr + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

// metric sums the series of a metric whose labels hold all of these texts.
func (w *worker) metric(name string, labels ...string) float64 {
	w.t.Helper()
	_, body := w.get("/metrics")
	sum := 0.0
	for line := range strings.Lines(body) {
		series, text, ok := strings.Cut(strings.TrimSpace(line), " ")
		base, set, _ := strings.Cut(series, "{")
		if !ok || base != name {
			continue
		}
		for _, label := range labels {
			ok = ok && strings.Contains(set, label)
		}
		if value, err := strconv.ParseFloat(text, 64); ok && err == nil {
			sum += value
		}
	}
	return sum
}

// reaches waits until a metric has a value.
func (w *worker) reaches(name string, want float64, labels ...string) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		if got := w.metric(name, labels...); got != want {
			return fmt.Errorf("%s%v is %v, not %v; log: %s", name, labels, got, want, &w.log)
		}
		return nil
	})
}

// settled waits until the group has read everything and nothing is pending.
func (in *installation) settled(group string) {
	in.t.Helper()
	testenv.Eventually(in.t, patience, func() error {
		groups, err := in.redis.Client.XInfoGroups(in.t.Context(), in.stream()).Result()
		if err != nil {
			return err
		}
		for _, g := range groups {
			// Not by the group's lag, which Redis reports from 7.0 on.
			unread, err := in.redis.Client.XRangeN(in.t.Context(), in.stream(), "("+g.LastDeliveredID, "+", 1).Result()
			if g.Name == group && g.Pending == 0 && len(unread) == 0 && err == nil {
				return nil
			}
		}
		return fmt.Errorf("the group is not done: %+v", groups)
	})
}

// errNotYet is the state of something awaited.
var errNotYet = errors.New("not yet")

// redisCLI runs redis-cli on the installation's Redis.
func (in *installation) redisCLI(args ...string) string {
	in.t.Helper()
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		in.t.Fatalf("the test needs redis-cli: %v", err)
	}
	cmd := exec.Command(path, append([]string{"-u", in.redis.URL}, args...)...)
	cmd.Env = os.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		in.t.Fatalf("redis-cli %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
