package soak

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a detector or an ingress-check.
type process struct {
	name   string
	cmd    *exec.Cmd
	ready  chan struct{} // closed once it listens
	exited chan struct{} // closed once it is gone
	addr   string        // it listens there; set before ready is closed

	mu     sync.Mutex
	log    []string // the last lines
	ending bool     // it has been told to end
}

const logKept = 20

// start starts a program and waits until it listens.
func (s *soak) start(name, program string, args ...string) *process {
	s.t.Helper()
	p := &process{name: name, ready: make(chan struct{}), exited: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = s.env
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		s.t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.follow(stderr)
		_ = p.cmd.Wait() // its state says how it ended
		close(p.exited)
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ending {
			s.wrong("%s ended by itself: %v\n%s", name, p.cmd.ProcessState, strings.Join(p.log, "\n"))
		}
	}()
	s.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	select {
	case <-p.ready:
	case <-p.exited:
	case <-time.After(patience):
	}
	if p.addr == "" {
		s.t.Fatalf("%s doesn't start: %s", name, p.logged())
	}
	return p
}

// follow reads the log.
func (p *process) follow(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		if p.log = append(p.log, lines.Text()); len(p.log) > logKept {
			p.log = p.log[1:]
		}
		p.mu.Unlock()
		var entry struct {
			Msg, Addr string
			HTTP      string `json:"http_addr"`
		}
		if p.addr != "" || !bytes.Contains(lines.Bytes(), []byte("_addr")) || json.Unmarshal(lines.Bytes(), &entry) != nil {
			continue
		}
		switch entry.Msg {
		case "detector started":
			p.addr = entry.HTTP
			close(p.ready)
		case "listening":
			p.addr = entry.Addr
			close(p.ready)
		}
	}
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// end sends a signal that ends the process, waits until it is gone, and returns its exit code.
func (p *process) end(sig syscall.Signal) int {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(sig) // it may be gone
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// metrics reads the process's metrics, summed over their labels.
func (p *process) metrics() (map[string]float64, error) {
	client := http.Client{Timeout: patience}
	res, err := client.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", p.name, err)
	}
	defer res.Body.Close()
	out := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		series, text, _ := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(series, "{")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			out[name] += value
		}
	}
	return out, lines.Err()
}
