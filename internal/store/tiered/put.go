package tiered

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/pkg/checker"
)

// Put implements [store.Blocks]. A batch without permanent blocks is one round
// trip to Redis. Of one scope's puts the temporary ones before the first permanent one go first, then
// the permanent ones, then the other temporary ones: which is the order that shows.
func (b *Blocks) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	if b.durable == nil {
		results, err := b.cache.Put(ctx, puts)
		if err != nil {
			return nil, fmt.Errorf("put in Redis: %w", err)
		}
		return results, nil
	}
	results := make([]store.Result, len(puts))
	for i, wave := range waves(puts) {
		if len(wave) == 0 {
			continue
		}
		put := b.putTemporary
		if i == 1 {
			put = b.putPermanent
		}
		done, err := put(ctx, pick(puts, wave))
		if err != nil {
			return nil, err
		}
		for j, at := range wave {
			results[at] = done[j]
		}
	}
	return results, nil
}

// waves sorts puts into the three that Put speaks of, by position.
func waves(puts []store.Put) [3][]int {
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

// putTemporary puts temporary blocks in Redis, and in the durable tier before
// that if it keeps them, too.
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
		// What the durable tier knows better: Redis may have lost it. An operator's
		// wish goes there all the same, to lift the mark of an unblock.
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

// liftFor takes back in the durable tier what operators' temporary blocks took
// back in Redis: the memory of an unblock.
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

// attempts is how often a permanent block is put where operators unblock its scope meanwhile.
const attempts = 3

// putPermanent puts permanent blocks: those that aren't in force already in the durable tier,
// then what that made of them in Redis. What an operator unblocked between the two steps is decided again.
func (b *Blocks) putPermanent(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	results := make([]store.Result, len(puts))
	todo := make([]int, len(puts))
	for i := range puts {
		todo[i] = i
	}
	for attempt := 1; len(todo) > 0; attempt++ {
		open, marks, err := b.undecided(ctx, puts, results, todo)
		if err != nil || len(open) == 0 {
			return results, err
		}
		if attempt == attempts {
			marks = nil
		}
		if todo, err = b.putDurable(ctx, puts, results, open, marks); err != nil {
			return results, err
		}
	}
	return results, nil
}

// putDurable puts what undecided left over and returns what has to be decided again.
func (b *Blocks) putDurable(ctx context.Context, puts []store.Put, results []store.Result, todo []int, marks map[int]time.Time) ([]int, error) {
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
	again, err := b.confirm(ctx, puts, results, confirm, marks)
	if err != nil {
		return nil, err
	}
	return again, b.degrade(ctx, puts, results, degrade)
}

// undecided returns those of puts that the durable tier has to decide, and when their scopes were last unblocked. A match
// that comes again for a scope that is permanently blocked, or from before an unblock, needs
// nobody's transaction; the match that began the block does, as it may be a redelivery.
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
	marks := make(map[int]time.Time, len(todo))
	for j, i := range todo {
		p, s, now := puts[i], states[j], b.now()
		held := s.Held(now) && s.Block.Permanent()
		repeated := p.Block.ID == "" || s.Block.ID == p.Block.ID
		switch {
		case !p.EvidenceTime.IsZero() && !s.Mark.IsZero() && !s.Mark.Before(p.EvidenceTime):
			results[i] = store.Result{Outcome: store.Unblocked}
			if held {
				results[i].Block = s.Block
			}
		case !p.EvidenceTime.IsZero() && held && !repeated:
			results[i] = store.Result{Outcome: store.Kept, Block: s.Block}
		default:
			puts[i].Block = continued(p, undurable[j])
			rest, marks[i] = append(rest, i), s.Mark
		}
	}
	return rest, marks, nil
}

// continued is the block to put where Redis alone holds one: that block has begun, and was told of, while the durable
// tier was down, so that whichever of its entries gets there first must not begin another.
func continued(p store.Put, undurable checker.Block) checker.Block {
	if undurable.ID != "" && !p.EvidenceTime.IsZero() {
		p.Block.ID, p.Block.CreatedAt = undurable.ID, undurable.CreatedAt
	}
	return p.Block
}

// confirm copies to Redis what is durable. Redis knows of the temporary block
// that a permanent one replaces, and of unblocks. One since the marks were read may have ended in the durable tier what was
// put there, though the match is later, or may be about to: which of them is left has to be decided again. Without marks the match counts if it
// is later than the unblock.
func (b *Blocks) confirm(ctx context.Context, puts []store.Put, results []store.Result, which []int, marks map[int]time.Time) (again []int, err error) {
	copies := make([]store.Put, len(which))
	for j, i := range which {
		copies[j] = store.Put{Block: results[i].Block, EvidenceTime: puts[i].EvidenceTime}
		if marks != nil && !puts[i].EvidenceTime.IsZero() {
			copies[j].EvidenceTime = after(marks[i])
		}
	}
	outcomes, err := b.cache.Confirm(ctx, copies)
	if err != nil {
		return nil, fmt.Errorf("copy to Redis: %w", err)
	}
	for j, i := range which {
		switch {
		case outcomes[j] == store.Unblocked && marks != nil:
			again = append(again, i)
		case outcomes[j] == store.Unblocked:
			results[i] = store.Result{Outcome: store.Unblocked}
		case outcomes[j] == store.BecamePermanent && results[i].Outcome == store.Began:
			results[i].Outcome = store.BecamePermanent
		}
	}
	return again, nil
}

// after is the earliest event time that a mark doesn't hold back; every other mark does.
func after(mark time.Time) time.Time {
	if mark.IsZero() {
		return time.UnixMilli(1)
	}
	return mark.Add(time.Millisecond)
}

// degrade puts in Redis alone what the durable tier didn't take. It is in
// effect then; the results keep their errors.
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
