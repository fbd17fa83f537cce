package ingress

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// evaluationFailed is the event type of a check that could not be made (SPEC §9).
const evaluationFailed = "audit.enforcement.evaluation_failed"

// errorClass names the kind of a failed check, for metrics and events: one of a
// few words, never a message.
func errorClass(err error) string {
	var redisErr redis.Error
	var pgErr *pgconn.PgError
	var netErr net.Error
	switch {
	case errors.Is(err, checker.ErrNoClient):
		return "no_client"
	case errors.Is(err, errAmbiguous):
		return "ambiguous_identity"
	case errors.Is(err, checker.ErrBusy):
		return "busy"
	case errors.Is(err, redislookup.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, redislookup.ErrCold):
		return "cold"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	case errors.As(err, &redisErr), errors.As(err, &pgErr):
		return "refused"
	}
	return "unavailable"
}

// failures reports failed checks: one log line a second and class at most, with
// the number of those left out, so that an outage doesn't fill the disk.
type failures struct {
	log    *slog.Logger
	now    func() time.Time
	mu     sync.Mutex
	limits map[string]*limiter // by class; there are a dozen
}

func newFailures(log *slog.Logger, now func() time.Time) *failures {
	return &failures{log: log, now: now, limits: map[string]*limiter{}}
}

func (f *failures) report(ctx context.Context, d checker.Decision) {
	class := errorClass(d.Err)
	left, ok := f.limit(class).pass(f.now())
	if !ok {
		return
	}
	mode := "open"
	if d.FailClosed {
		mode = "closed"
	}
	f.log.LogAttrs(ctx, slog.LevelError, evaluationFailed,
		slog.String("event_type", evaluationFailed), slog.String("error.type", class),
		slog.String("enforcement.fail_mode", mode), slog.Int("left_out", left), slog.Any("error", d.Err))
}

func (f *failures) limit(class string) *limiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.limits[class]
	if l == nil {
		l = &limiter{every: time.Second}
		f.limits[class] = l
	}
	return l
}

// A limiter lets one thing pass in a while and counts the others.
type limiter struct {
	every time.Duration
	mu    sync.Mutex
	next  time.Time
	left  int
}

// pass reports whether one may pass at now, and how many didn't since the last.
func (l *limiter) pass(now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.left++
		return 0, false
	}
	left, l.left, l.next = l.left, 0, now.Add(l.every)
	return left, true
}
