package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxEvents is about how many events the stream keeps.
const maxEvents = 10_000

// A shop is the application under attack: a proxy that asks ingress-check about
// every request, and behind it a service that publishes audit events.
type shop struct {
	ask    *http.Client
	door   string // URL of ingress-check
	events *redis.Client
	stream string
	now    func() time.Time

	// order is held from before an event is published until it has been reported, so that
	// nothing it leads to is reported earlier.
	order sync.Mutex
}

// A visit is what became of one request.
type visit struct {
	time   time.Time
	actor  *actor
	step   step
	status int
	seen   time.Time // of the event's entry; zero if the request was denied
}

// denied reports whether ingress-check turned the request away.
func (v *visit) denied() bool { return v.status != http.StatusOK }

// act has an actor do one step after the other until ctx ends, and reports each.
// Pace stretches the waits. An error means that the shop is out of order.
func (s *shop) act(ctx context.Context, a *actor, pace float64, report func(visit)) error {
	count := 0
	for n := 0; ; n++ {
		next := a.next(n, count)
		if !wait(ctx, time.Duration(float64(next.wait)*pace)) {
			return nil
		}
		v, err := s.serve(ctx, a, next, report)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it is over, whatever became of the last one
		case err != nil:
			return fmt.Errorf("send the request of %s: %w", a.name, err)
		case v.denied():
			count++
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve takes a request as far as it comes, to the door, or to the service, which
// publishes its event, and reports it.
func (s *shop) serve(ctx context.Context, a *actor, next step, report func(visit)) (visit, error) {
	v := visit{actor: a, step: next}
	var err error
	if v.status, err = s.knock(ctx, a, next); err != nil {
		return v, err
	}
	s.order.Lock()
	defer s.order.Unlock()
	if !v.denied() {
		if v.seen, err = s.publish(ctx, a.event(next)); err != nil {
			return v, err
		}
	}
	v.time = s.now()
	report(v)
	return v, nil
}

// knock asks ingress-check as a proxy does that has authenticated the client.
func (s *shop) knock(ctx context.Context, a *actor, next step) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.door, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("ask ingress-check: %w", err)
	}
	req.Header.Set("X-Forwarded-For", a.from(next))
	req.Header.Set("X-Forwarded-Method", next.method)
	req.Header.Set("X-Forwarded-Uri", next.path)
	if next.known {
		req.Header.Set(userHeader, a.user)
		req.Header.Set(sessionHeader, a.session)
	}
	resp, err := s.ask.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask ingress-check: %w", err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err != nil {
		return 0, fmt.Errorf("ask ingress-check: %w", err)
	}
	return resp.StatusCode, nil
}

var errEntryID = errors.New("not an entry ID")

// publish adds an event to the stream and returns the time of its entry.
func (s *shop) publish(ctx context.Context, fields []string) (time.Time, error) {
	id, err := s.events.XAdd(ctx, &redis.XAddArgs{Stream: s.stream, MaxLen: maxEvents, Approx: true, Values: fields}).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("publish event: %w", err)
	}
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("publish event: %q is %w", id, errEntryID)
	}
	return time.UnixMilli(n), nil
}
