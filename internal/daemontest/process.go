// Package daemontest runs the module's programs as processes, for tests that
// treat them as those who run them do: by signals, logs and metrics.
package daemontest

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

// A Process is a detector or an ingress-check that was started. Its methods may
// be called by several goroutines at once.
type Process struct {
	Started <-chan struct{} // closed once it listens
	Exited  <-chan struct{} // closed once it is gone

	cmd  *exec.Cmd
	addr string // it listens there; set before started is closed

	mu     sync.Mutex
	log    []string // the last lines
	ending bool     // it was signalled to end
}

const (
	logKept  = 20 // lines
	lineKept = 1 << 20
	patience = 20 * time.Second // with one request
)

// Start starts cmd, whose standard error is the log of a program of ours, and
// calls ended once it is gone. If it can't be started Exited is closed and ended is not called.
func Start(cmd *exec.Cmd, ended func(*Process)) (*Process, error) {
	started, exited := make(chan struct{}), make(chan struct{})
	p := &Process{cmd: cmd, Started: started, Exited: exited}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		close(exited)
		return p, fmt.Errorf("start process: %w", err)
	}
	go func() {
		p.follow(stderr, started)
		_ = cmd.Wait() // its state says how it ended
		close(exited)
		ended(p)
	}()
	return p, nil
}

// follow reads the log.
func (p *Process) follow(r io.Reader, started chan<- struct{}) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineKept)
	for lines.Scan() {
		p.mu.Lock()
		if p.log = append(p.log, lines.Text()); len(p.log) > logKept {
			p.log = p.log[1:]
		}
		p.mu.Unlock()
		if p.addr == "" {
			if p.addr = listens(lines.Bytes()); p.addr != "" {
				close(started)
			}
		}
	}
}

// listens returns the address that a line of a log says the program listens at, or "".
func listens(line []byte) string {
	var entry struct {
		Msg, Addr string
		HTTP      string `json:"http_addr"`
	}
	if !bytes.Contains(line, []byte("addr")) || json.Unmarshal(line, &entry) != nil {
		return ""
	}
	switch entry.Msg {
	case "detector started":
		return entry.HTTP
	case "listening":
		return entry.Addr
	}
	return ""
}

// Working says whether it has started, though it may have ended since.
func (p *Process) Working() bool {
	select {
	case <-p.Started:
		return true
	default:
		return false
	}
}

// PID is its process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Addr is where it listens; for use once it has started.
func (p *Process) Addr() string { return p.addr }

// ExitCode is its exit code, once it is gone; -1 if a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Log is the end of its log.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// Ending says whether it was sent a signal that ends it.
func (p *Process) Ending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ending
}

// Signal sends a signal. It may be gone already.
func (p *Process) Signal(sig syscall.Signal) {
	ends := sig == syscall.SIGKILL || sig == syscall.SIGTERM
	p.mu.Lock()
	p.ending = p.ending || ends
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(sig)
	if ends {
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // a stopped one would never end
	}
}

// End sends a signal that ends it and waits until it is gone.
func (p *Process) End(sig syscall.Signal) {
	p.Signal(sig)
	<-p.Exited
}

// Metrics reads its metrics: the sums of series by name, and each series that has labels by name
// and labels.
func (p *Process) Metrics() (map[string]float64, error) {
	if !p.Working() {
		return nil, fmt.Errorf("read metrics: process %d hasn't started", p.PID())
	}
	client := http.Client{Timeout: patience}
	res, err := client.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
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
