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

// A clusterReader reads the keys of a question from the servers of a Cluster, from all at the same
// time. Each server answers or fails independently, so that blocks on one server are found while
// another is down. go-redis' own pipeline retries failed commands until the deadline, and the
// timeout is then the error of all commands.
type clusterReader struct {
	cluster *redis.ClusterClient
	hash    string   // key of the membership hash
	silent  silences // of servers
}

// A share holds the commands for one server.
type share struct {
	server *redis.Client
	cmds   []redis.Cmder
}

// read fills in the replies of questions, one after the other. Cluster look-ups are not batched, so
// there is only one.
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

// assign adds a command to the share of the server that owns key.
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

// ask sends every share and returns when all have been answered or failed. It returns by the
// context's deadline if the client has ContextTimeoutEnabled.
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
			_ = r.cluster.Process(ctx, cmd) // follows the redirection and reloads the slots
		case cmd.Err() == nil && err != nil && !answered(cmd):
			cmd.SetErr(err) // go-redis reports a refused connection only as the pipeline's error
		}
	}
}

// timedOut reports whether err means that a server did not answer by the deadline.
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

// errSilent is the error of commands that were not sent because the server does not answer.
var errSilent = errors.New("the server has not answered for a while")

const (
	silentLeast = 3                      // consecutive requests that timed out
	silentRest  = 100 * time.Millisecond // between attempts
)

// silences remembers which servers do not answer, so that requests need not wait for them each
// time. While every server answers it takes no lock.
type silences struct {
	any atomic.Int32 // servers in the map
	mu  sync.Mutex
	of  map[*redis.Client]*silence
}

type silence struct {
	timeouts int // consecutive
	next     time.Time
}

// admit reports whether to send a request to the server at now.
func (s *silences) admit(server *redis.Client, now time.Time) bool {
	if s.any.Load() == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	silent := s.of[server]
	if silent == nil || silent.timeouts < silentLeast {
		return true
	}
	if now.Before(silent.next) {
		return false
	}
	silent.next = now.Add(silentRest)
	return true
}

// learn records whether a request timed out.
func (s *silences) learn(server *redis.Client, now time.Time, late bool) {
	if !late && s.any.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !late {
		delete(s.of, server)
	} else {
		if s.of == nil {
			s.of = map[*redis.Client]*silence{}
		}
		if s.of[server] == nil {
			s.of[server] = &silence{}
		}
		s.of[server].timeouts++
		s.of[server].next = now.Add(silentRest)
	}
	s.any.Store(int32(len(s.of))) //nolint:gosec // servers of a Cluster
}
