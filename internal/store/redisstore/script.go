package redisstore

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name Redis knows scripts by, no secret
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
)

// A script is a Lua script and its name in Redis.
type script struct{ source, sha string }

func newScript(source string) *script {
	source = strings.NewReplacer("$BLOCK_HEAD", wire.BlockHead, "$MEMBER_END", wire.MemberEnd).Replace(source)
	sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
	return &script{source: source, sha: hex.EncodeToString(sum[:])}
}

//go:embed scripts/put.lua
var putSource string

//go:embed scripts/copy.lua
var copySource string

//go:embed scripts/unblock.lua
var unblockSource string

//go:embed scripts/member.lua
var memberSource string

//go:embed scripts/swap.lua
var swapSource string

//go:embed scripts/discard.lua
var discardSource string

//go:embed scripts/announce.lua
var announceSource string

// scripts are the scripts of a block store.
type scripts struct{ put, copyOf, unblock, member, swap, discard, announce *script }

func blockScripts() scripts {
	return scripts{
		put: newScript(putSource), copyOf: newScript(copySource), unblock: newScript(unblockSource),
		member: newScript(memberSource), swap: newScript(swapSource), discard: newScript(discardSource),
		announce: newScript(announceSource),
	}
}

// A call is one run of a script.
type call struct {
	script *script
	keys   []string
	args   []any
}

const (
	callsPerPipeline = 1000
	scriptLoads      = 3 // a SCRIPT FLUSH between load and call costs one more
)

// run sends calls in one pipeline, together with the commands of with. If the server does not know
// a script it loads it and sends those calls again. Each command holds its own reply. An error
// means that the network or the server failed; any part of the calls may have been executed.
func run(ctx context.Context, client redis.UniversalClient, calls []call, with func(redis.Pipeliner)) ([]*redis.Cmd, error) {
	cmds := make([]*redis.Cmd, len(calls))
	todo := make([]int, len(calls))
	for i := range calls {
		todo[i] = i
	}
	for range scriptLoads {
		unknown, err := send(ctx, client, calls, cmds, todo, with)
		if err != nil {
			return nil, err
		}
		if len(unknown) == 0 {
			return cmds, nil
		}
		if err := load(ctx, client, calls, unknown); err != nil {
			return nil, err
		}
		todo, with = unknown, nil
	}
	return nil, errors.New("run script: the server keeps forgetting it")
}

// send sends calls[todo] in order and returns those whose script is unknown. Calls on one key stay
// in order when they are sent again: if a script is unknown to a server, so are the calls after it.
func send(ctx context.Context, client redis.UniversalClient, calls []call, cmds []*redis.Cmd, todo []int, with func(redis.Pipeliner)) ([]int, error) {
	var unknown []int
	for start := 0; start < len(todo) || with != nil; start += callsPerPipeline {
		pipe := client.Pipeline()
		if with != nil {
			with(pipe)
			with = nil
		}
		part := todo[min(start, len(todo)):min(start+callsPerPipeline, len(todo))]
		for _, i := range part {
			cmds[i] = pipe.EvalSha(ctx, calls[i].script.sha, calls[i].keys, calls[i].args...)
		}
		all, err := pipe.Exec(ctx)
		if err := firstFailure(all, err); err != nil {
			return nil, fmt.Errorf("run scripts: %w", err)
		}
		for _, i := range part {
			if redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
				unknown = append(unknown, i)
			}
		}
	}
	return unknown, nil
}

func load(ctx context.Context, client redis.UniversalClient, calls []call, unknown []int) error {
	loaded := map[*script]bool{}
	for _, i := range unknown {
		s := calls[i].script
		if loaded[s] {
			continue
		}
		if err := client.ScriptLoad(ctx, s.source).Err(); err != nil {
			return fmt.Errorf("load script: %w", err)
		}
		loaded[s] = true
	}
	return nil
}

// firstFailure returns the first error of a pipeline that does not concern a single key.
func firstFailure(cmds []redis.Cmder, err error) error {
	for _, cmd := range cmds {
		switch err := cmd.Err(); {
		case err == nil, errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "NOSCRIPT"), wrongType(err):
		default:
			return err
		}
	}
	if len(cmds) == 0 {
		return err
	}
	return nil
}

// wrongType reports whether err means that a key has a foreign type. In an error of a script the
// code may be anywhere in the message.
func wrongType(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.Contains(err.Error(), "WRONGTYPE")
}

// keyError returns the error of one call. A key of a foreign type is ErrUnstorable.
func keyError(err error) error {
	if wrongType(err) {
		return fmt.Errorf("%w: %w", store.ErrUnstorable, err)
	}
	return err
}
