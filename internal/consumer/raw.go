package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// errReplySize is returned where a reply is larger than it may be.
var errReplySize = errors.New("the reply is too large")

// reasonUnreadable is that of an entry that no reply may hold, even alone.
const reasonUnreadable = "oversized: too large to be read"

// fetchRaw sends a command to the node that has the stream. It goes round the
// Cluster client, which would repeat it after a failure of the network. A reply
// of more than limit bytes (0 is none) is not read to its end, and fewer entries are asked for next time.
func (l *loop) fetchRaw(ctx context.Context, client redis.UniversalClient, limit int, args []any) ([]byte, error) {
	var node interface {
		Process(ctx context.Context, cmd redis.Cmder) error
	} = client
	if cluster, ok := client.(*redis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, l.stream)
		if err != nil {
			return nil, err
		}
		node = master
	}
	if limit == 0 { // the faster way
		cmd := redis.NewRawCmd(ctx, args...)
		err := node.Process(ctx, cmd)
		return cmd.Val(), err
	}
	reply := &boundedReply{limit: limit}
	err := node.Process(ctx, redis.NewRawWriteToCmd(ctx, reply, args...))
	if errors.Is(err, errReplySize) {
		l.count = 1
	}
	return reply.buf.Bytes(), err
}

// A boundedReply takes a reply that is not too large.
type boundedReply struct {
	buf   bytes.Buffer
	limit int
}

func (r *boundedReply) Write(p []byte) (int, error) {
	if r.buf.Len()+len(p) > r.limit {
		return 0, errReplySize
	}
	return r.buf.Write(p)
}

// buryUnreadable makes a dead letter, without fields, of the next entry to be
// drained, which is too large to be read by itself.
func (l *loop) buryUnreadable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	next, err := l.Clients.Ops.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: l.stream, Group: l.Group, Consumer: l.consumer, Start: "(" + l.drained, End: "+", Count: 1,
	}).Result()
	if err != nil {
		return fmt.Errorf("find unreadable entry: %w", err)
	}
	if len(next) == 0 {
		return nil // somebody else has it by now
	}
	it := &item{Entry: Entry{Stream: l.stream, ID: next[0].ID, Deliveries: int(next[0].RetryCount)}}
	it.verdict = Verdict{Status: Dead, Reason: reasonUnreadable}
	l.drained = it.ID
	return l.bury(ctx, []*item{it})
}

// parseTree reads a reply as go-redis does, so far as XAUTOCLAIM's go: strings, nils
// and lists, in at most depth lists.
func parseTree(raw []byte, depth int) (any, error) {
	p := replyParser{buf: raw}
	tree, err := p.tree(depth)
	if err == nil {
		err = p.end()
	}
	return tree, err
}

func (p *replyParser) tree(depth int) (any, error) {
	switch {
	case p.null():
		return nil, nil
	case p.pos < len(p.buf) && p.buf[p.pos] == '$':
		s, err := p.bulk()
		if err != nil {
			return nil, err
		}
		return string(p.buf[s.start:s.end]), nil
	case depth == 0:
		return nil, fmt.Errorf("%w: too deep", errReply)
	}
	n, _, err := p.array()
	if err != nil {
		return nil, err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = p.tree(depth - 1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// null reads what stands for nothing, if it is next.
func (p *replyParser) null() bool {
	const length = len("$-1\r\n")
	if len(p.buf)-p.pos < length {
		return false
	}
	if next := string(p.buf[p.pos : p.pos+length]); next != "$-1\r\n" && next != "*-1\r\n" {
		return false
	}
	p.pos += length
	return true
}
