package consumer

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/resp"
)

// A Shedding says which entries are skipped once they are older than MaxLag: those that have one
// field named Field with one of Values, and none named Unless. Where Redis cannot decide that,
// because the value holds a line end, quotes or bytes that are not text, the entry is read and the
// handler decides.
type Shedding struct {
	Field  string
	Values []string // one that ends in * stands for all that begin so
	Unless string
	// Count is called with how many were skipped. Those of a reply that got lost are not counted.
	Count func(entries int)
}

const (
	// shedEntries is how many entries one call of shedScript looks at, which blocks Redis for a
	// millisecond; shedCalls is how many calls make up one read at most.
	shedEntries = 128
	shedCalls   = 16

	// clockSlack is how far the clock of Redis may be ahead of ours.
	clockSlack = time.Second

	// shedRest is how long entries are read the usual way where the script is refused, shedPause
	// where it keeps most: it costs Redis more than a plain read then, and saves little.
	shedRest  = time.Minute
	shedPause = time.Second
)

//go:embed scripts/shed.lua
var shedSource string

var shedScript = redislua.New(shedSource)

// A shedder reads new entries that are late, and skips those that may be, inside Redis.
type shedder struct {
	*member
	shedding Shedding
	maxLag   time.Duration // from which an entry is late; 0 is never
	page     *pageSize

	late bool      // what was read last was late
	due  time.Time // when the script may be called again
}

// applies reports whether the next new entries are late, as far as is known, so that some may be
// skipped in Redis.
func (s *shedder) applies() bool {
	return s.late && !s.due.After(s.now())
}

// observe notes whether entries that were read the usual way are late.
func (s *shedder) observe(entries []Entry) { s.late = s.isLate(entries) }

// isLate reports whether the first of entries is late, and some may be skipped. By our clock,
// generously: the script asks Redis'.
func (s *shedder) isLate(entries []Entry) bool {
	if s.maxLag == 0 || len(s.shedding.Values) == 0 || len(entries) == 0 {
		return false
	}
	text, _, _ := strings.Cut(entries[0].ID, "-")
	ms, _ := strconv.ParseInt(text, 10, 64) // Redis made it
	return s.now().Add(clockSlack).Sub(time.UnixMilli(ms)) >= s.maxLag
}

// read reads, as a fetcher does, of new entries those that are not skipped. If it fails, what it
// has read already is pending, and recovered.
func (s *shedder) read(ctx context.Context) ([]Entry, error) {
	var entries []Entry
	for range shedCalls {
		skipped, kept, err := s.call(ctx)
		if err != nil {
			s.late = false
			if resp.IsError(err, "") { // any: it would say so again
				s.due = s.now().Add(shedRest)
			}
			return nil, fmt.Errorf("skip late entries: %w", err)
		}
		s.metrics.delivered.Add(float64(skipped))
		s.metrics.acked.Add(float64(skipped)) // or as good as
		s.shedding.Count(skipped)
		entries = append(entries, kept...)
		s.late = skipped > 0 || s.isLate(kept)
		if len(kept) > skipped && skipped+len(kept) == shedEntries {
			s.due = s.now().Add(shedPause)
			break
		}
		if skipped == 0 || len(entries)+shedEntries > s.page.entries {
			break
		}
	}
	return entries, nil
}

// call calls the script.
func (s *shedder) call(ctx context.Context) (skipped int, kept []Entry, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	args := []any{
		"EVALSHA", shedScript.Hash(), 1, s.stream, s.group, s.name, min(s.page.entries, shedEntries), s.maxLag.Milliseconds(),
		s.shedding.Field, s.shedding.Unless,
	}
	for _, value := range s.shedding.Values {
		args = append(args, value)
	}
	raw, err := resp.Fetch(ctx, s.clients.Read, s.stream, 0, args...)
	if resp.IsError(err, "NOSCRIPT") {
		args[0], args[1] = "EVAL", shedSource
		raw, err = resp.Fetch(ctx, s.clients.Read, s.stream, 0, args...)
	}
	if err != nil {
		return 0, nil, err
	}
	skipped, entries, err := resp.CountAndEntries(raw)
	s.page.adapt(len(raw), len(entries))
	return skipped, entriesOf(s.stream, entries), err
}
