package soak

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// A subject is whom ingress is asked about.
type subject struct{ ip, user, session string }

// an address without a block is always allowed.
const nobodys = "192.0.2.1"

// subjects are those who must be denied because of what a did.
func (a *actor) subjects() []subject {
	if a.kind == changer {
		return []subject{{ip: nobodys, user: a.name}, {ip: nobodys, session: a.session}}
	}
	return []subject{{ip: a.name}}
}

// denied asks an ingress-check.
func (s *soak) denied(p *process, who subject) (bool, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+p.Addr()+"/", http.NoBody)
	if err != nil {
		return false, err
	}
	req.Header.Set("X-Forwarded-For", who.ip)
	req.Header.Set("X-Forwarded-Uri", "/shop/cart")
	if who.user != "" {
		req.Header.Set(userHeader, who.user)
	}
	if who.session != "" {
		req.Header.Set(sessionHeader, who.session)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	switch res.StatusCode {
	case http.StatusOK:
		return false, nil
	case http.StatusTooManyRequests:
		return true, nil
	}
	return false, fmt.Errorf("%s answers %s", p.name, res.Status)
}

// probe waits until each attacker is denied by both servers, and notes when.
func (s *soak) probe() {
	for a := range s.attacks {
		held := true
		for _, who := range a.subjects() {
			held = s.awaitDenied(a, who) && held
		}
		if held {
			s.blocked(a)
		}
	}
}

func (s *soak) awaitDenied(a *actor, who subject) bool {
	waiting := []int{0, 1}
	pause := time.Millisecond
	for deadline := time.Now().Add(patience); len(waiting) > 0; wait(pause) {
		still := waiting[:0]
		for _, i := range waiting {
			switch yes, err := s.denied(s.ingress[i], who); {
			case err != nil:
				s.wrong("ask about %v: %v", who, err)
				return false
			case yes:
				s.note(i, time.Since(a.sent))
			default:
				still = append(still, i)
			}
		}
		if waiting = still; len(waiting) > 0 && time.Now().After(deadline) {
			s.wrong("%s lets %v in %s after its last event (%s)", s.ingress[waiting[0]].name, who, patience, a.last.UTC())
			return false
		}
		pause = min(pause*5/4, 100*time.Millisecond)
	}
	return true
}

// note notes how long a block took to be seen at a server.
func (s *soak) note(server int, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delays[server] = append(s.delays[server], delay)
}

// check asks one server about visitors and now and then about a blocked client, until ctx ends.
func (s *soak) check(ctx context.Context, server int) {
	random := rand.New(rand.NewPCG(s.seed, uint64(100+server)))
	ticks := time.NewTicker(time.Second / time.Duration(max(s.rate/20, 5)))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		n := random.IntN(visitors(s.rate))
		who, blocked := subject{ip: address(visitor, n), user: "v" + strconv.Itoa(n), session: fmt.Sprintf("%032x", n)}, (*actor)(nil)
		if random.IntN(5) == 0 {
			if blocked = s.someBlocked(random); blocked != nil {
				who = blocked.subjects()[0]
			}
		}
		yes, err := s.denied(s.ingress[server], who)
		s.checks.Add(1)
		switch {
		case err != nil:
			s.failed.Add(1)
			s.wrong("check %v: %v", who, err)
		case blocked == nil && yes:
			s.wrong("%s denies the visitor %s", s.ingress[server].name, who.ip)
		case blocked != nil && !yes && s.isBlocked(blocked):
			s.wrong("%s lets %v in, who is blocked", s.ingress[server].name, who)
		}
	}
}
