package redislookup

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
)

// A clusterReader reads what a question asks for from the servers of a Cluster that have it, from all at the same time. Each
// answers or fails by itself, so that what one of them knows to be blocked is found though another is gone. go-redis' own
// pipeline has them share one fate: it retries what failed until the deadline, whose passing is then the error of all.
type clusterReader struct {
	cluster *redis.ClusterClient
	hash    string   // key of the membership hash
	silent  silences // of servers
}

// A share is what one server is asked.
type share struct {
	server *redis.Client
	cmds   []redis.Cmder
}

// read fills in the replies of questions, one after the other; there is one of them.
func (r *clusterReader) read(ctx context.Context, questions []*question) {
	for _, q := range questions {
		gets := make([]*redis.StringCmd, len(q.keys))
		members := redis.NewSliceCmd(ctx, r.hmget(q)...)
		shares := r.assign(ctx, nil, r.hash, members)
		for i, key := range q.keys {
			gets[i] = redis.NewStringCmd(ctx, "get", key)
			shares = r.assign(ctx, shares, key, gets[i])
		}
		r.ask(ctx, shares)
		blocks := redis.NewSliceCmd(ctx)
		collect(gets, blocks)
		deliver([]*question{q}, len(q.keys), blocks, members, nil)
	}
}

func (r *clusterReader) hmget(q *question) []any {
	args := make([]any, 0, len(q.fields)+3)
	args = append(args, "hmget", r.hash)
	for _, field := range q.fields {
		args = append(args, field)
	}
	return append(args, rediskey.CompleteField)
}

// assign adds a command to the share of the server that has key.
func (r *clusterReader) assign(ctx context.Context, shares []share, key string, cmd redis.Cmder) []share {
	server, err := r.cluster.MasterForKey(ctx, key)
	if err != nil {
		cmd.SetErr(err)
		return shares
	}
	for i := range shares {
		if shares[i].server == server {
			shares[i].cmds = append(shares[i].cmds, cmd)
			return shares
		}
	}
	return append(shares, share{server, []redis.Cmder{cmd}})
}

// ask sends every share and returns once all have their replies, or have failed; by the context's deadline, if the client
// heeds it.
func (r *clusterReader) ask(ctx context.Context, shares []share) {
	if len(shares) == 0 {
		return
	}
	var others sync.WaitGroup
	for _, s := range shares[1:] {
		others.Go(func() { r.askOne(ctx, s) })
	}
	r.askOne(ctx, shares[0])
	others.Wait()
}

func (r *clusterReader) askOne(ctx context.Context, s share) {
	if !r.silent.admit(s.server, time.Now()) {
		for _, cmd := range s.cmds {
			cmd.SetErr(errSilent)
		}
		return
	}
	pipe := s.server.Pipeline()
	_ = pipe.BatchProcess(ctx, s.cmds...) // queues them
	_, err := pipe.Exec(ctx)
	r.silent.learn(s.server, time.Now(), timedOut(err))
	for _, cmd := range s.cmds {
		switch {
		case redis.HasErrorPrefix(cmd.Err(), "MOVED") || redis.HasErrorPrefix(cmd.Err(), "ASK"):
			_ = r.cluster.Process(ctx, cmd) // follows it, and learns where slots are
		case cmd.Err() == nil && err != nil && !answered(cmd):
			cmd.SetErr(err) // go-redis says only here that a connection was refused
		}
	}
}

// timedOut reports whether err means that a server let a request wait until its deadline.
func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// answered reports whether a command has a reply.
func answered(cmd redis.Cmder) bool {
	switch cmd := cmd.(type) {
	case *redis.StringCmd:
		return cmd.Val() != ""
	case *redis.SliceCmd:
		return len(cmd.Val()) > 0
	}
	return false
}

// errSilent is the failure of what a server wasn't asked, because it swallows requests.
var errSilent = errors.New("the server has not answered for a while")

const (
	silentLeast = 3                      // requests in a row that waited in vain
	silentRest  = 100 * time.Millisecond // between requests that try again
)

// silences remembers which servers swallow requests, so that the others needn't wait for them each time. Whoever has no
// silent server takes no lock.
type silences struct {
	any atomic.Int32 // servers in the map
	mu  sync.Mutex
	of  map[*redis.Client]*silence
}

type silence struct {
	vain int // requests in a row
	next time.Time
}

// admit reports whether a server may be asked now.
func (s *silences) admit(server *redis.Client, now time.Time) bool {
	if s.any.Load() == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	silent := s.of[server]
	if silent == nil || silent.vain < silentLeast {
		return true
	}
	if now.Before(silent.next) {
		return false
	}
	silent.next = now.Add(silentRest)
	return true
}

// learn takes note of how a request ended.
func (s *silences) learn(server *redis.Client, now time.Time, inVain bool) {
	if !inVain && s.any.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !inVain {
		delete(s.of, server)
	} else {
		if s.of == nil {
			s.of = map[*redis.Client]*silence{}
		}
		if s.of[server] == nil {
			s.of[server] = &silence{}
		}
		s.of[server].vain++
		s.of[server].next = now.Add(silentRest)
	}
	s.any.Store(int32(len(s.of))) //nolint:gosec // servers of a Cluster
}
