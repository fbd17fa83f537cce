// Package redislua runs Lua scripts in Redis by their hash, and loads them on servers that do not
// know them.
package redislua

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name by which Redis knows scripts, not a secret
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A Script is a Lua script. It is immutable.
type Script struct{ source, hash string }

// New returns the script with this source. Pairs of replace and their replacements are applied to
// it first, as by [strings.NewReplacer].
func New(source string, replace ...string) *Script {
	source = strings.NewReplacer(replace...).Replace(source)
	sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
	return &Script{source: source, hash: hex.EncodeToString(sum[:])}
}

// Hash returns the name by which Redis knows the script once it is loaded, for EVALSHA.
func (s *Script) Hash() string { return s.hash }

// Run runs the script: EVALSHA, and EVAL if the server does not know it.
func (s *Script) Run(ctx context.Context, client redis.Scripter, keys []string, args ...any) *redis.Cmd {
	cmd := client.EvalSha(ctx, s.hash, keys, args...)
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		return s.Eval(ctx, client, keys, args...)
	}
	return cmd
}

// Eval runs the script by its source, in a pipeline that is not sent again.
func (s *Script) Eval(ctx context.Context, client redis.Scripter, keys []string, args ...any) *redis.Cmd {
	return client.Eval(ctx, s.source, keys, args...)
}

// Load makes the server, or each node of a cluster, know the script.
func (s *Script) Load(ctx context.Context, client redis.Scripter) error {
	if err := client.ScriptLoad(ctx, s.source).Err(); err != nil {
		return fmt.Errorf("load script: %w", err)
	}
	return nil
}

// A Call is one run of a script.
type Call struct {
	Script *Script
	Keys   []string
	Args   []any
}

// CallsPerPipeline is how many calls are sent in one pipeline at most.
const CallsPerPipeline = 1000

const loads = 3 // a SCRIPT FLUSH between load and call costs one more

// RunAll sends calls in one pipeline for each thousand, together with the commands of with, which
// may be nil. If the server does not know a script it loads it and sends those calls again, which
// may change the order of calls on one key: they must end the same in any order. Each command holds
// its own reply. An error means that the network or the server failed; any part of the calls may
// have been executed.
func RunAll(ctx context.Context, client redis.UniversalClient, calls []Call, with func(redis.Pipeliner)) ([]*redis.Cmd, error) {
	cmds := make([]*redis.Cmd, len(calls))
	todo := make([]int, len(calls))
	for i := range calls {
		todo[i] = i
	}
	for range loads {
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

// send sends calls[todo] in order and returns those whose script is unknown. These come after
// others on the same key when they are sent again, if another client loaded the script in the
// middle.
func send(ctx context.Context, client redis.UniversalClient, calls []Call, cmds []*redis.Cmd, todo []int, with func(redis.Pipeliner)) ([]int, error) {
	var unknown []int
	for start := 0; start < len(todo) || with != nil; start += CallsPerPipeline {
		pipe := client.Pipeline()
		if with != nil {
			with(pipe)
			with = nil
		}
		part := todo[min(start, len(todo)):min(start+CallsPerPipeline, len(todo))]
		for _, i := range part {
			cmds[i] = pipe.EvalSha(ctx, calls[i].Script.hash, calls[i].Keys, calls[i].Args...)
		}
		all, err := pipe.Exec(ctx)
		if err := FirstFailure(all, err); err != nil {
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

func load(ctx context.Context, client redis.UniversalClient, calls []Call, unknown []int) error {
	loaded := map[*Script]bool{}
	for _, i := range unknown {
		s := calls[i].Script
		if loaded[s] {
			continue
		}
		if err := s.Load(ctx, client); err != nil {
			return err
		}
		loaded[s] = true
	}
	return nil
}

// FirstFailure returns the first error of a pipeline that does not concern a single key.
func FirstFailure(cmds []redis.Cmder, err error) error {
	for _, cmd := range cmds {
		switch err := cmd.Err(); {
		case err == nil, errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "NOSCRIPT"), WrongType(err):
		default:
			return err
		}
	}
	if len(cmds) == 0 {
		return err
	}
	return nil
}

// WrongType reports whether err means that a key has a foreign type. In an error of a script the
// code may be anywhere in the message.
func WrongType(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.Contains(err.Error(), "WRONGTYPE")
}
