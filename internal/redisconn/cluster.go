package redisconn

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// reloadEvery is how often slots are reloaded while servers fail.
const reloadEvery = 100 * time.Millisecond

// A reloader is a hook that makes a Cluster client reload its slots when a node fails. The client
// itself reloads only on MOVED replies and once a minute, and a dead node does not reply.
type reloader struct {
	cluster *redis.ClusterClient
	now     func() time.Time
	last    atomic.Int64 // reload, in Unix nanoseconds
}

// DialHook implements [redis.Hook]; it changes nothing.
func (r *reloader) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (r *reloader) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		r.see(ctx, err)
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (r *reloader) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		r.see(ctx, err)
		return err
	}
}

// see reloads the slots if err means that the node or its role may have changed.
func (r *reloader) see(ctx context.Context, err error) {
	if !moves(err) {
		return
	}
	now, last := r.now().UnixNano(), r.last.Load()
	if now-last < int64(reloadEvery) || !r.last.CompareAndSwap(last, now) {
		return
	}
	r.cluster.ReloadState(ctx) // in the background
}

// moves reports whether an error may mean that slots have moved or are about to.
func moves(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) || errors.Is(err, context.Canceled) {
		return false
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return true // of the network, or a deadline
	}
	for _, code := range []string{"MOVED ", "READONLY ", "CLUSTERDOWN ", "MASTERDOWN ", "LOADING "} {
		if strings.HasPrefix(reply.Error(), code) {
			return true
		}
	}
	return false
}
