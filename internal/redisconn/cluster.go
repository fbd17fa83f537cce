package redisconn

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// reloadEvery is how often slots are loaded anew while servers fail.
const reloadEvery = 100 * time.Millisecond

// A reloader is a hook of a Cluster's nodes that has the client load where slots are when a node fails. The client
// itself does so where a node says MOVED, and once a minute: a dead one says nothing.
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

// see reloads if err says that the node, or its place in the Cluster, is not what it was.
func (r *reloader) see(ctx context.Context, err error) {
	if !moves(err) {
		return
	}
	now, last := r.now().UnixNano(), r.last.Load()
	if now-last < int64(reloadEvery) || !r.last.CompareAndSwap(last, now) {
		return
	}
	r.cluster.ReloadState(ctx) // behind the scenes
}

// moves reports whether an error may mean that slots are elsewhere, now or soon.
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
