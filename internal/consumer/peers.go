package consumer

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// peerPatience bounds how long a batch waits for what other processes are handling.
	peerPatience = 250 * time.Millisecond
	peerPoll     = 2 * time.Millisecond
	// peerMemory is how long a peer counts as at work after it had entries pending.
	peerMemory = time.Minute
	// peerLook is how often peers are looked for while there are none.
	peerLook = 20 * time.Millisecond
)

// peers are the consumers that other processes have in the group.
type peers struct {
	client  redis.UniversalClient
	stream  string
	group   string
	timeout time.Duration
	own     map[string]bool // consumers of this process

	mu     sync.Mutex
	seen   time.Time         // when a peer last had entries pending
	looked time.Time         // when it was last looked for some
	stuck  map[string]string // by consumer, its oldest entry when waiting for it timed out
}

// maxStuck bounds the memory of consumers that come and go.
const maxStuck = 1000

// settle waits, at most peerPatience, until no peer has an entry pending from before id: its
// effects may be still to come. It reports whether peers are at work, which may have changed
// something just before. A peer for which waiting timed out is not waited for again until it makes
// progress. Each look is XPENDING, O(consumers), and one more for the consumers that have entries
// pending.
func (p *peers) settle(ctx context.Context, id string) (atWork bool, err error) {
	if p.alone() {
		return false, nil
	}
	deadline := time.Now().Add(peerPatience)
	for {
		busy, err := p.before(ctx, id)
		if err != nil {
			return false, fmt.Errorf("look at the group's pending entries: %w", err)
		}
		if len(busy) > 0 && time.Now().After(deadline) {
			p.giveUp(busy)
			busy = nil
		}
		if len(busy) == 0 {
			return p.seenLately(), nil
		}
		pause(ctx, peerPoll)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// alone reports whether a look for peers less than peerLook ago found none.
func (p *peers) alone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.seen) < peerMemory {
		return false
	}
	alone := now.Sub(p.looked) < peerLook
	if !alone {
		p.looked = now
	}
	return alone
}

func (p *peers) seenLately() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.seen) < peerMemory
}

// before returns the oldest entry of each peer that has one from before id, but for those that are
// stuck with it.
func (p *peers) before(ctx context.Context, id string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	summary, err := p.client.XPending(ctx, p.stream, p.group).Result()
	if err != nil {
		return nil, err
	}
	var others []string
	for consumer := range summary.Consumers {
		if !p.own[consumer] {
			others = append(others, consumer)
		}
	}
	if len(others) == 0 {
		return nil, nil
	}
	p.mu.Lock()
	p.seen = time.Now()
	p.mu.Unlock()
	if !older(summary.Lower, id) {
		return nil, nil
	}
	return p.oldest(ctx, others, id)
}

func (p *peers) oldest(ctx context.Context, consumers []string, id string) (map[string]string, error) {
	pipe := p.client.Pipeline()
	found := make([]*redis.XPendingExtCmd, len(consumers))
	for i, consumer := range consumers {
		found[i] = pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: p.stream, Group: p.group, Start: "-", End: id, Count: 1, Consumer: consumer})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	busy := map[string]string{}
	for i, consumer := range consumers {
		first := found[i].Val()
		if len(first) == 1 && p.stuck[consumer] != first[0].ID {
			busy[consumer] = first[0].ID
		}
	}
	return busy, nil
}

func (p *peers) giveUp(busy map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck == nil || len(p.stuck) > maxStuck {
		p.stuck = map[string]string{}
	}
	maps.Copy(p.stuck, busy)
}

// older reports whether the entry a comes before the entry b in a stream.
func older(a, b string) bool {
	ams, aseq := splitID(a)
	bms, bseq := splitID(b)
	return ams < bms || ams == bms && aseq < bseq
}

func splitID(id string) (ms, seq uint64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(left, 10, 64)
	seq, _ = strconv.ParseUint(right, 10, 64)
	return ms, seq
}
