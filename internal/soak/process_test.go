package soak

import (
	"os/exec"
	"syscall"
	"time"

	"github.com/wardstream/wardstream/internal/daemontest"
)

// A process is a detector or an ingress-check.
type process struct {
	*daemontest.Process

	name string
}

// start starts a program and waits until it listens.
func (s *soak) start(name, program string, args ...string) *process {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = s.env
	p, err := daemontest.Start(cmd, func(p *daemontest.Process) {
		if !p.Ending() {
			s.wrong("%s ended by itself, exit %d:\n%s", name, p.ExitCode(), p.Log())
		}
	})
	if err != nil {
		s.t.Fatalf("start %s: %v", name, err)
	}
	s.t.Cleanup(func() { p.End(syscall.SIGKILL) })
	select {
	case <-p.Started:
	case <-p.Exited:
	case <-time.After(patience):
	}
	if !p.Working() {
		s.t.Fatalf("%s doesn't start: %s", name, p.Log())
	}
	return &process{p, name}
}
