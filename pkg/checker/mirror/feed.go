package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
)

const (
	blockFor     = 500 * time.Millisecond // one read of the stream, at most: so long may Run take to end
	blockShort   = 20 * time.Millisecond  // while a snapshot is being taken
	replyTimeout = time.Second            // beyond that, and for all else
	readCount    = 256                    // entries
)

// A feed is the stream of changes as one follower reads it.
type feed struct {
	client redis.UniversalClient
	keys   rediskey.Keys
	at     wire.Position // up to there it was read
	conn   reader        // nil: none yet
}

// A reader is a connection of its own for blocking reads: they must not keep look-ups from theirs.
type reader interface {
	XRead(ctx context.Context, a *redis.XReadArgs) *redis.XStreamSliceCmd
	Close() error
}

var errClient = errors.New("mirror needs a *redis.Client or a *redis.ClusterClient")

func (f *feed) connect(ctx context.Context) (reader, error) {
	if f.conn != nil {
		return f.conn, nil
	}
	client, ok := f.client.(*redis.Client)
	if cluster, clustered := f.client.(*redis.ClusterClient); clustered {
		var err error
		if client, err = cluster.MasterForKey(ctx, f.keys.Changes()); err != nil {
			return nil, fmt.Errorf("find server of changes: %w", err)
		}
	} else if !ok {
		return nil, errClient
	}
	f.conn = client.Conn()
	return f.conn, nil
}

// close gives the connection back. Another is taken when it is needed: after a failover perhaps to
// another server.
func (f *feed) close() {
	if f.conn != nil {
		_ = f.conn.Close() // nothing was written to it
		f.conn = nil
	}
}

// read returns what changed after f.at and waits for it as long as block says; a negative one doesn't. It
// doesn't move f.at.
func (f *feed) read(ctx context.Context, block time.Duration) ([]redis.XMessage, error) {
	conn, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	from := f.at.ID
	if from == "" {
		from = "0-0"
	}
	// Cancelling doesn't interrupt a blocked read, and a black-holed one ends only by a deadline.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(block, 0)+replyTimeout)
	defer cancel()
	streams, err := conn.XRead(ctx, &redis.XReadArgs{Streams: []string{f.keys.Changes(), from}, Count: readCount, Block: block}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		f.close()
		return nil, fmt.Errorf("read changes: %w", err)
	}
	if len(streams) == 0 {
		return nil, nil
	}
	return streams[0].Messages, nil
}

// A glance is what one look at Redis tells.
type glance struct {
	at       time.Time     // when it was begun
	head     wire.Position // zero: there is none
	complete bool          // the membership hash is
}

// glance looks where the stream ends and how late it is there. It goes by the client and not by the feed's connection: that
// may have been left with a server that others have deserted.
func (m *Mirror) glance(ctx context.Context) (glance, error) {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	g := glance{at: m.now()}
	server, err := m.headServer(ctx)
	if err != nil {
		return g, fmt.Errorf("look where changes end: %w", err)
	}
	pipe, others := server.Pipeline(), m.client.Pipeline() // in a Cluster the hash is elsewhere
	if server == m.client {
		others = pipe
	}
	head, clock := pipe.Get(ctx, m.keys.ChangesHead()), pipe.Time(ctx)
	complete := others.HExists(ctx, m.keys.Permanent(), rediskey.CompleteField)
	_, err = pipe.Exec(ctx)
	end := m.now()
	if server != m.client && (err == nil || errors.Is(err, redis.Nil)) {
		_, err = others.Exec(ctx)
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return g, fmt.Errorf("look where changes end: %w", err)
	}
	g.complete = complete.Val()
	m.offset.Store(clock.Val().Sub(g.at.Add(end.Sub(g.at) / 2)).Microseconds())
	if errors.Is(head.Err(), redis.Nil) {
		return g, nil
	}
	if g.head, err = wire.ReadPosition(head.Val()); err != nil {
		return g, fmt.Errorf("look where changes end: %w", err)
	}
	return g, nil
}

// headServer is the server that has the head of the changes. In a Cluster the clock must be that of a server that has to
// be there anyhow, not of any.
func (m *Mirror) headServer(ctx context.Context) (redis.Cmdable, error) {
	if cluster, ok := m.client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, m.keys.ChangesHead())
	}
	return m.client, nil
}

// end is where to begin to read: the head, or the last entry of a stream that has lost it.
func (m *Mirror) end(ctx context.Context) (wire.Position, error) {
	g, err := m.glance(ctx)
	if err != nil || g.head != (wire.Position{}) {
		return g.head, err
	}
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	last, err := m.client.XRevRangeN(ctx, m.keys.Changes(), "+", "-", 1).Result()
	if err != nil {
		return wire.Position{}, fmt.Errorf("look where changes end: %w", err)
	}
	if len(last) == 0 {
		return wire.Position{}, nil
	}
	return wire.Position{ID: last[0].ID}, nil
}
