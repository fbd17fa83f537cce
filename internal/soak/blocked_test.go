package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"time"
)

// ringSize is how many of those who are blocked are remembered.
const ringSize = 2000

// blocked notes that an attacker is blocked. One who is for good is to be unblocked after a while.
func (s *soak) blocked(a *actor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.kind == changer {
		s.permanent = append(s.permanent, a)
		return
	}
	if s.ring = append(s.ring, a); len(s.ring) > ringSize {
		s.ring = s.ring[1:]
	}
}

// someBlocked returns an attacker whose block doesn't end soon, or nil.
func (s *soak) someBlocked(random *rand.Rand) *actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring = slices.DeleteFunc(s.ring, func(a *actor) bool { return time.Since(a.last) > s.ttl/2 })
	if len(s.ring) == 0 {
		return nil
	}
	return s.ring[random.IntN(len(s.ring))]
}

// isBlocked reports whether a is so still: an operator may have unblocked it since, or it may have
// taken long to ask.
func (s *soak) isBlocked(a *actor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.ring, a) && time.Since(a.last) < s.ttl*3/4
}

// operate unblocks an address every period, and users once they have been blocked for long enough,
// until ctx ends.
func (s *soak) operate(ctx context.Context) {
	random := rand.New(rand.NewPCG(s.seed, 99))
	ticks := time.NewTicker(s.period)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if a := s.someBlocked(random); a != nil {
			s.mu.Lock()
			s.ring = slices.DeleteFunc(s.ring, func(b *actor) bool { return a == b })
			s.mu.Unlock()
			s.unblock(a, "ip", a.name)
		}
		for _, a := range s.due() {
			s.unblock(a, "user", a.name)
			s.unblock(a, "session", a.session)
		}
	}
}

// due takes out the users whose time it is to be unblocked.
func (s *soak) due() (out []*actor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permanent = slices.DeleteFunc(s.permanent, func(a *actor) bool {
		over := time.Since(a.sent) > 6*s.period
		if over {
			out = append(out, a)
		}
		return over
	})
	return out
}

// unblock has the command line lift a block, and waits until both servers let its subject in.
func (s *soak) unblock(a *actor, typ, value string) {
	if err := s.command("unblock", typ, value, "--reason", "soak"); err != nil {
		s.wrong("%v", err)
		return
	}
	s.unblocked.Add(1)
	who := a.subjects()[0]
	if typ == "session" {
		who = a.subjects()[1]
	}
	for _, p := range s.ingress {
		in := false
		for deadline := time.Now().Add(patience); !in && time.Now().Before(deadline); wait(time.Millisecond) {
			yes, err := s.denied(p, who)
			if err != nil {
				s.wrong("ask about %v: %v", who, err)
				return
			}
			in = !yes
		}
		if !in {
			s.wrong("%s denies %v %s after an unblock", p.name, who, patience)
		}
	}
}

// command runs a command of the detector.
func (s *soak) command(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.detector, append(args, "--config", s.config)...)
	cmd.Env = s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("detector %v: %w: %s", args, err, out)
	}
	return nil
}

// wait waits.
func wait(d time.Duration) { <-time.After(d) }
