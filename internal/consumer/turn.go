package consumer

import (
	"context"
	"sync"
	"time"
)

// turnPatience bounds how long a batch waits for those that were read before it: one slow entry
// must not delay the whole stream.
const turnPatience = time.Second

// A sequence keeps the read loops of one stream in the stream's order: one of them reads
// at a time, and what they read takes turns in the order of reading.
type sequence struct {
	peers   *peers
	reading chan struct{} // holds a token while no loop reads
	last    *Turn         // of what was read last; it and the pace belong to the holder of the token
	pace    pace
}

func newSequence(p *peers) *sequence {
	s := &sequence{peers: p, reading: make(chan struct{}, 1)}
	s.reading <- struct{}{}
	return s
}

// begin waits up to patience until no other loop reads and reports whether the
// caller may; it then calls end.
func (s *sequence) begin(ctx context.Context, patience time.Duration) bool {
	select {
	case <-s.reading:
		return true
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.reading:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// end lets the next loop read and returns the turn of what the caller has read.
func (s *sequence) end() *Turn {
	t := &Turn{peers: s.peers, passed: make(chan struct{})}
	if s.last != nil {
		t.before = s.last.passed
	}
	s.last = t
	s.reading <- struct{}{}
	return t
}

// A Turn is the place of a batch among the batches of its stream that this process has read.
// The nil Turn is that of entries that come again: it waits for nothing.
type Turn struct {
	peers  *peers
	before <-chan struct{} // closed when the batch before has passed; nil if there is none
	passed chan struct{}
	once   sync.Once
	gaveUp bool // to wait
}

// Wait returns when every batch that was read before has passed, and reports whether that is so: it
// gives up, once, after a second, or when ctx ends. It is for the goroutine that handles the batch.
func (t *Turn) Wait(ctx context.Context) bool {
	if t == nil || t.before == nil {
		return true
	}
	select {
	case <-t.before:
		return true
	default:
	}
	if t.gaveUp {
		return false
	}
	timer := time.NewTimer(turnPatience)
	defer timer.Stop()
	select {
	case <-t.before:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	t.gaveUp = true
	return false
}

// Pass lets the next batch take its turn. It may be called any number of times; without a call the
// next batch waits until Handle returns.
func (t *Turn) Pass() {
	if t != nil {
		t.once.Do(func() { close(t.passed) })
	}
}

// Settle waits, up to a quarter of a second, until no other process of the group is handling an
// entry from before id, which is one of the batch's. It reports whether other processes are at
// work: what was counted before may have changed. It is for the few decisions that an earlier entry
// could still revoke. An error is one of Redis.
func (t *Turn) Settle(ctx context.Context, id string) (peersAtWork bool, err error) {
	if t == nil || t.peers == nil {
		return false, nil
	}
	return t.peers.settle(ctx, id)
}
