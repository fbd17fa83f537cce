package tiered

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Put implements [store.Blocks]. A batch without permanent blocks takes one round trip to Redis.
// Puts are executed in three phases, which keep the order within each scope as far as it matters:
// temporary blocks before the scope's first permanent one, permanent blocks, and the remaining
// temporary ones.
func (b *Blocks) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	if b.durable == nil {
		results, err := b.cache.Put(ctx, puts)
		if err != nil {
			return nil, fmt.Errorf("put in Redis: %w", err)
		}
		return results, nil
	}
	results := make([]store.Result, len(puts))
	for i, phase := range phases(puts) {
		if len(phase) == 0 {
			continue
		}
		put := b.putTemporary
		if i == 1 {
			put = b.putPermanent
		}
		done, err := put(ctx, pick(puts, phase))
		if err != nil {
			return nil, err
		}
		for j, at := range phase {
			results[at] = done[j]
		}
	}
	return results, nil
}

// phases assigns puts, by index, to the three phases of Put.
func phases(puts []store.Put) [3][]int {
	var out [3][]int
	permanent := map[checker.Scope]bool{}
	for i, p := range puts {
		switch scope := p.Block.Scope; {
		case p.Block.Permanent():
			permanent[scope] = true
			out[1] = append(out[1], i)
		case permanent[scope]:
			out[2] = append(out[2], i)
		default:
			out[0] = append(out[0], i)
		}
	}
	return out
}

// putTemporary puts temporary blocks in the durable tier, if it stores them too, and then in Redis.
func (b *Blocks) putTemporary(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	results := make([]store.Result, len(puts))
	todo := make([]int, 0, len(puts))
	var durableErr error
	if b.both {
		var kept []store.Result
		if kept, durableErr = b.durable.Put(ctx, puts); durableErr == nil {
			results = kept
		}
	}
	for i, p := range puts {
		// The durable tier decides, since Redis may have lost the state. An operator's block is put
		// in Redis all the same, to remove the tombstone there.
		overruled := !p.EvidenceTime.IsZero() &&
			(results[i].Outcome == store.Unblocked || results[i].Outcome == store.Kept && results[i].Block.Permanent())
		if !b.both || durableErr != nil || !overruled {
			todo = append(todo, i)
		}
	}
	done, err := b.cache.Put(ctx, pick(puts, todo))
	if err != nil {
		return nil, fmt.Errorf("put in Redis: %w", err)
	}
	for j, i := range todo {
		if kept := errors.Join(durableErr, results[i].Err); kept != nil && !errors.Is(done[j].Err, store.ErrUnstorable) {
			if done[j].Err == nil {
				kept = fmt.Errorf("%w: %w", store.ErrPartial, kept)
			}
			done[j].Err = fmt.Errorf("block isn't in every tier yet: %w", errors.Join(kept, done[j].Err))
		}
		results[i] = done[j]
	}
	b.liftFor(ctx, puts, results)
	return results, nil
}

func pick(puts []store.Put, which []int) []store.Put {
	out := make([]store.Put, len(which))
	for j, i := range which {
		out[j] = puts[i]
	}
	return out
}

// liftFor removes the tombstones in the durable tier that operators' temporary blocks removed in
// Redis.
func (b *Blocks) liftFor(ctx context.Context, puts []store.Put, results []store.Result) {
	var scopes []checker.Scope
	var at []int
	for i, p := range puts {
		if p.EvidenceTime.IsZero() && results[i].Err == nil && results[i].Outcome != store.Lapsed {
			scopes, at = append(scopes, p.Block.Scope), append(at, i)
		}
	}
	if len(scopes) == 0 {
		return
	}
	if err := b.durable.Lift(ctx, scopes); err != nil {
		for _, i := range at {
			results[i].Err = fmt.Errorf("an earlier unblock is still remembered there: %w: %w", store.ErrPartial, err)
		}
	}
}

// attempts is how often a permanent block is put if operators unblock its scope at the same time.
const attempts = 3

// putPermanent puts permanent blocks in the durable tier, unless they are already in effect, and
// then copies the result to Redis. Scopes that an operator unblocked between the two steps are
// decided again.
func (b *Blocks) putPermanent(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	results := make([]store.Result, len(puts))
	todo := make([]int, len(puts))
	for i := range puts {
		todo[i] = i
	}
	for attempt := 1; len(todo) > 0; attempt++ {
		open, tombstones, err := b.undecided(ctx, puts, results, todo)
		if err != nil || len(open) == 0 {
			return results, err
		}
		if attempt == attempts {
			tombstones = nil
		}
		if todo, err = b.putDurable(ctx, puts, results, open, tombstones); err != nil {
			return results, err
		}
	}
	return results, nil
}

// putDurable puts what undecided returned, and returns the puts to decide again.
func (b *Blocks) putDurable(ctx context.Context, puts []store.Put, results []store.Result, todo []int, tombstones map[int]time.Time) ([]int, error) {
	kept, durableErr := b.durable.Put(ctx, pick(puts, todo))
	var confirm, degrade []int
	for j, i := range todo {
		switch {
		case durableErr != nil:
			results[i] = store.Result{Err: durableErr}
			degrade = append(degrade, i)
		case kept[j].Err != nil:
			results[i] = store.Result{Err: kept[j].Err}
			degrade = append(degrade, i)
		default:
			results[i] = kept[j]
			if kept[j].Outcome != store.Unblocked {
				confirm = append(confirm, i)
			}
		}
	}
	again, err := b.confirm(ctx, puts, results, confirm, tombstones)
	if err != nil {
		return nil, err
	}
	return again, b.degrade(ctx, puts, results, degrade)
}

// undecided returns the puts that the durable tier has to decide, and the tombstones of their
// scopes. A further match for a permanently blocked scope, or one from before an unblock, needs no
// transaction. The match that created the block does, since it may be a redelivery.
func (b *Blocks) undecided(ctx context.Context, puts []store.Put, results []store.Result, which []int) ([]int, map[int]time.Time, error) {
	var todo []int
	var scopes []checker.Scope
	for _, i := range which {
		p, err := store.Prepare(puts[i], b.now())
		if err != nil {
			results[i].Err = fmt.Errorf("put block: %w", err)
			continue
		}
		puts[i] = p
		todo, scopes = append(todo, i), append(scopes, p.Block.Scope)
	}
	if len(todo) == 0 {
		return nil, nil, nil
	}
	states, undurable, err := b.cache.Known(ctx, scopes)
	if err != nil {
		return nil, nil, fmt.Errorf("put in every tier: %w", err)
	}
	var rest []int
	tombstones := make(map[int]time.Time, len(todo))
	for j, i := range todo {
		p, s, now := puts[i], states[j], b.now()
		held := s.Held(now) && s.Block.Permanent()
		repeated := p.Block.ID == "" || s.Block.ID == p.Block.ID
		switch {
		case !p.EvidenceTime.IsZero() && !s.Tombstone.IsZero() && !s.Tombstone.Before(p.EvidenceTime):
			results[i] = store.Result{Outcome: store.Unblocked}
			if held {
				results[i].Block = s.Block
			}
		case !p.EvidenceTime.IsZero() && held && !repeated:
			results[i] = store.Result{Outcome: store.Kept, Block: s.Block}
		default:
			puts[i].Block = continued(p, undurable[j])
			rest, tombstones[i] = append(rest, i), s.Tombstone
		}
	}
	return rest, tombstones, nil
}

// continued returns the block to put if only Redis holds one. That block was created, and announced
// in an event, while the durable tier was down, so the entry that reaches the durable tier first
// must not create another.
func continued(p store.Put, undurable checker.Block) checker.Block {
	if undurable.ID != "" && !p.EvidenceTime.IsZero() {
		p.Block.ID, p.Block.CreatedAt = undurable.ID, undurable.CreatedAt
	}
	return p.Block
}

// confirm copies durable blocks to Redis, which knows the temporary block that a permanent one
// replaces, and unblocks. An unblock after tombstones were read may have removed the block from the
// durable tier, or be about to, even if the match is later; such puts are returned to be decided
// again. If tombstones is nil, a match counts if it is later than the unblock.
func (b *Blocks) confirm(ctx context.Context, puts []store.Put, results []store.Result, which []int, tombstones map[int]time.Time) (again []int, err error) {
	copies := make([]store.Put, len(which))
	for j, i := range which {
		copies[j] = store.Put{Block: results[i].Block, EvidenceTime: puts[i].EvidenceTime}
		if tombstones != nil && !puts[i].EvidenceTime.IsZero() {
			copies[j].EvidenceTime = store.After(tombstones[i])
		}
	}
	outcomes, err := b.cache.Confirm(ctx, copies)
	if err != nil {
		return nil, fmt.Errorf("copy to Redis: %w", err)
	}
	for j, i := range which {
		switch {
		case outcomes[j] == store.Unblocked && tombstones != nil:
			again = append(again, i)
		case outcomes[j] == store.Unblocked:
			results[i] = store.Result{Outcome: store.Unblocked}
		case outcomes[j] == store.BecamePermanent && results[i].Outcome == store.Began:
			results[i].Outcome = store.BecamePermanent
		}
	}
	return again, nil
}

// degrade puts blocks that the durable tier did not accept in Redis alone. They are in effect then;
// their Results keep the errors.
func (b *Blocks) degrade(ctx context.Context, puts []store.Put, results []store.Result, which []int) error {
	if len(which) == 0 {
		return nil
	}
	done, err := b.cache.Put(ctx, pick(puts, which))
	if err != nil {
		return fmt.Errorf("put in Redis: %w", err)
	}
	for j, i := range which {
		results[i] = store.Result{
			Outcome: done[j].Outcome, Block: done[j].Block,
			Err: fmt.Errorf("block isn't durable yet: %w", errors.Join(results[i].Err, done[j].Err)),
		}
	}
	return nil
}
