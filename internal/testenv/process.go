package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a local server's process and the tail of what it said.
type process struct {
	cmd    *exec.Cmd
	sig    syscall.Signal // ends it
	output *tail
	exited chan struct{} // closed once it has been reaped
}

// launch starts name with args as the given user; sig ends it, now or when the
// test binary dies.
func launch(as account, sig syscall.Signal, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), sig: sig, output: &tail{}, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = attributes(as, sig)
	if err := onLastingThread(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended shows in the output
		close(p.exited)
	}()
	return p, nil
}

// end ends the process and waits until it is gone; a second call is harmless.
func (p *process) end() {
	_ = p.cmd.Process.Signal(p.sig) // it may be gone already
	select {
	case <-p.exited:
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

var errLives = errors.New("the server doesn't end")

// stop ends the process by another signal than end does.
func (p *process) stop(sig syscall.Signal) error {
	_ = p.cmd.Process.Signal(sig) // it may be gone already
	select {
	case <-p.exited:
		return nil
	case <-time.After(startTimeout):
		return fmt.Errorf("%w: %s", errLives, p.output)
	}
}

// ready waits until answers returns nil.
func (p *process) ready(answers func() error) error {
	return poll(startTimeout, func() error {
		select {
		case <-p.exited:
			return fmt.Errorf("%w: the server ended: %s", errGiveUp, p.output)
		default:
		}
		if err := answers(); err != nil {
			return fmt.Errorf("%w (its output: %s)", err, p.output)
		}
		return nil
	})
}

// lasting runs functions on one operating-system thread that never ends: Linux
// sends the parent-death signal when the *thread* that started a child ends.
var lasting = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

func onLastingThread(start func() error) error {
	result := make(chan error)
	lasting() <- func() { result <- start() }
	return <-result
}

// tail keeps the last few kilobytes of a server's output.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

var errNoPort = errors.New("no free port between 20000 and 32000")

// freePort finds a port outside the range that outgoing connections use, so that
// a server that is started again finds it free still.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errNoPort
}

// dirPrefix starts the names of the directories that servers live in; the
// process ID follows.
const dirPrefix = "wardstream-test-"

// serverDir makes a directory that belongs to as.
func serverDir(as account) (string, error) {
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make server directory: %w", err)
	}
	if as.other {
		if err := os.Chown(dir, int(as.uid), int(as.gid)); err != nil {
			return "", fmt.Errorf("hand over server directory: %w", err)
		}
	}
	return dir, nil
}

// sweep removes directories of test binaries that were killed.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		digits, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(digits)
		if err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			unmount(dir)
			_ = os.RemoveAll(dir)
		}
	}
}

// An account is the user that a server runs as.
type account struct {
	uid, gid uint32
	other    bool // than our own
}
