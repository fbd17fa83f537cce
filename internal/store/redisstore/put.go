package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

var errReply = errors.New("script's reply has another shape")

// Put implements [store.Blocks] with one pipeline of a script call per block, and one more call to
// announce changes, if any. The Result of a block that Redis cannot store has
// [store.ErrUnstorable].
func (b *Blocks) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	results := make([]store.Result, len(puts))
	ready := make([]store.Put, 0, len(puts))
	at := make([]int, 0, len(puts)) // of ready in results
	calls := make([]redislua.Call, 0, len(puts))
	for i, p := range puts {
		c, prepared, err := b.putCall(p)
		if err != nil {
			results[i].Err = fmt.Errorf("put block: %w", err)
			continue
		}
		ready, at, calls = append(ready, prepared), append(at, i), append(calls, c)
	}
	if len(calls) == 0 {
		return results, nil
	}
	members, with := b.alongside(ctx, ready)
	cmds, err := redislua.RunAll(ctx, b.client, calls, with)
	if err != nil {
		return nil, fmt.Errorf("put blocks: %w", err)
	}
	var news []checker.Scope
	for i, cmd := range cmds {
		r := putResult(ready[i], cmd)
		if r.Err == nil && members != nil {
			overrule(&r, ready[i], members()[i])
		}
		if r.Err == nil && changed(ready[i], r) {
			news = append(news, ready[i].Block.Scope)
		}
		results[at[i]] = r
	}
	if err := b.announce(ctx, news); err != nil {
		return nil, fmt.Errorf("put blocks: %w", err)
	}
	return results, nil
}

func (b *Blocks) putCall(p store.Put) (redislua.Call, store.Put, error) {
	p, err := store.Prepare(p, b.now())
	if err != nil {
		return redislua.Call{}, p, err
	}
	value, err := wire.EncodeBlock(p.Block)
	if err != nil {
		return redislua.Call{}, p, fmt.Errorf("%w: %w", store.ErrUnstorable, err)
	}
	scope := p.Block.Scope
	keys := b.blockKeys(scope)
	if !b.clustered {
		keys = append(keys, b.keys.Permanent())
	}
	return redislua.Call{
		Script: b.scripts.put, Keys: keys,
		Args: []any{
			value, wire.HeadLen(value) + 1, p.Block.ID, wire.Until(p.Block), evidenceTime(p), milliseconds(b.ttl), rediskey.MemberField(scope),
		},
	}, p, nil
}

// evidenceTime returns p.EvidenceTime as the scripts' argument: "" for an operator's block.
func evidenceTime(p store.Put) string {
	if p.EvidenceTime.IsZero() {
		return ""
	}
	return strconv.FormatInt(p.EvidenceTime.UnixMilli(), 10)
}

// alongside reads the membership hash in the same round trip in a Redis Cluster, where the scripts
// cannot access it.
func (b *Blocks) alongside(ctx context.Context, puts []store.Put) (members func() []any, with func(redis.Pipeliner)) {
	if !b.clustered {
		return nil, nil
	}
	fields := make([]string, len(puts))
	for i, p := range puts {
		fields[i] = rediskey.MemberField(p.Block.Scope)
	}
	var cmd *redis.SliceCmd
	return func() []any { return cmd.Val() },
		func(pipe redis.Pipeliner) { cmd = pipe.HMGet(ctx, b.keys.Permanent(), fields...) }
}

// overrule corrects the result of a temporary block if the membership hash has a stronger one: the
// stronger block was kept.
func overrule(r *store.Result, p store.Put, member any) {
	raw, ok := member.(string)
	if !ok || p.Block.Permanent() || r.Outcome != store.Began && r.Outcome != store.Extended {
		return
	}
	m, err := wire.DecodeMember(p.Block.Scope, []byte(raw))
	if err == nil && m.ID != p.Block.ID && !p.Block.Stronger(m) {
		r.Outcome, r.Block = store.Kept, m
	}
}

// putResult decodes the put script's reply.
func putResult(p store.Put, cmd *redis.Cmd) store.Result {
	reply, err := cmd.Slice()
	if err != nil {
		return store.Result{Err: fmt.Errorf("put block: %w", keyError(err))}
	}
	outcome, value, third := int64(-1), "", any(nil)
	if len(reply) > 0 {
		outcome, _ = reply[0].(int64)
	}
	if len(reply) > 1 {
		value, _ = reply[1].(string)
	}
	if len(reply) > 2 {
		third = reply[2]
	}
	if outcome < 0 || outcome > int64(store.Unblocked) {
		return store.Result{Err: fmt.Errorf("put block: %w", errReply)}
	}
	r := store.Result{Outcome: store.Outcome(outcome)}
	r.Block = inForce(p.Block, r.Outcome, value, third)
	return r
}

// inForce decodes the block in effect from the script's reply.
func inForce(put checker.Block, outcome store.Outcome, value string, third any) checker.Block {
	switch {
	case outcome == store.Extended:
		created, _ := third.(string)
		put.ID, put.CreatedAt = value, wire.ReadTime([]byte(created))
		return put
	case value == "" && outcome == store.Began:
		return put
	case value == "":
		return checker.Block{}
	case third != nil:
		if m, err := wire.DecodeMember(put.Scope, []byte(value)); err == nil {
			return m
		}
	}
	return readable(put.Scope, value)
}
