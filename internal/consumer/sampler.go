package consumer

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/resp"
)

//go:embed scripts/sample.lua
var sampleSource string

var sampleScript = redislua.New(prelude + sampleSource)

// countedTTL is how long it is remembered under which master_replid Redis' count is right.
const countedTTL = 24 * time.Hour

// A sampler measures how far a group is behind in a stream.
type sampler struct {
	client        redis.UniversalClient
	stream, group string
	key           string // holds the master_replid under which entries-read is known to be right
	readOnly      bool   // leaves entries-read as it is
}

func newSampler(client redis.UniversalClient, prefix, stream, group string) *sampler {
	return &sampler{client: client, stream: stream, group: group, key: rediskey.Keys{Prefix: prefix}.Counted(stream, group)}
}

// A sample is how far a group is behind.
type sample struct {
	lag     int64         // entries not delivered
	exact   bool          // false: lag is an estimate
	pending int64         // entries delivered but not acked
	oldest  time.Duration // age of the oldest of either
	lost    int64         // entries trimmed before the group read them, not counted before
	unknown bool          // more may have been trimmed unread; how many is unknown
}

// take measures; ok is false if the group isn't there.
func (s *sampler) take(ctx context.Context) (m sample, ok bool, err error) {
	counted, err := s.counted(ctx)
	if err != nil && !errors.Is(err, redis.Nil) {
		return sample{}, false, fmt.Errorf("measure stream: %w", err)
	}
	repair := "1"
	if s.readOnly {
		repair = ""
	}
	reply, err := sampleScript.Run(ctx, s.client, []string{s.stream}, s.group, counted, repair).Slice()
	if errors.Is(err, redis.Nil) {
		return sample{}, false, nil
	}
	if err != nil {
		return sample{}, false, fmt.Errorf("measure stream: %w", err)
	}
	m, history, err := readSample(reply)
	if history == "" && counted == "" {
		history = "unknown" // the key says at least that a worker looks
	}
	if err == nil && history != "" && history != counted && !s.readOnly {
		err = s.client.Set(ctx, s.key, history, countedTTL).Err()
	}
	if err != nil { // what was found is set right, and won't be found again
		return m, true, fmt.Errorf("measure stream: %w", err)
	}
	return m, true, nil
}

func (s *sampler) counted(ctx context.Context) (string, error) {
	if s.readOnly {
		return s.client.Get(ctx, s.key).Result()
	}
	return s.client.GetEx(ctx, s.key, countedTTL).Result()
}

func readSample(reply []any) (m sample, history string, err error) {
	if len(reply) != 7 {
		return m, "", resp.ErrMalformed
	}
	var numbers [6]int64
	for i := range numbers {
		n, ok := reply[i].(int64)
		if !ok {
			return m, "", resp.ErrMalformed
		}
		numbers[i] = n
	}
	history, ok := reply[6].(string)
	if !ok {
		return m, "", resp.ErrMalformed
	}
	return sample{
		lag: numbers[0], exact: numbers[1] == 1, pending: numbers[2], oldest: time.Duration(numbers[3]) * time.Millisecond,
		lost: numbers[4], unknown: numbers[5] == 1,
	}, history, nil
}

// A Lag is how far a group is behind in a stream.
type Lag struct {
	Unread  int64 // entries not delivered
	Exact   bool  // false: Unread is an estimate
	Pending int64 // entries delivered but not acked
}

// LastSeen returns how long ago a worker last measured the stream, which each does every ten
// seconds; false if none did lately. Redis before 7.2 does not report which consumers wait for
// entries.
func LastSeen(ctx context.Context, client redis.UniversalClient, prefix, stream, group string) (time.Duration, bool) {
	left, err := client.PTTL(ctx, newSampler(client, prefix, stream, group).key).Result()
	if err != nil || left <= 0 {
		return 0, false
	}
	return max(countedTTL-left, 0), true
}

// MeasureLag measures how far a group is behind in a stream, and changes nothing. Prefix is the
// consumer's. It returns false if the group does not exist.
func MeasureLag(ctx context.Context, client redis.UniversalClient, prefix, stream, group string) (Lag, bool, error) {
	s := newSampler(client, prefix, stream, group)
	s.readOnly = true
	m, ok, err := s.take(ctx)
	return Lag{Unread: m.lag, Exact: m.exact, Pending: m.pending}, ok, err
}
