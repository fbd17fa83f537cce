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
	blockFor     = 500 * time.Millisecond // how long a read waits for changes, and Run for it when it ends
	blockShort   = 20 * time.Millisecond  // the same, while a snapshot is being taken
	replyTimeout = time.Second            // for the reply of every command, after any wait
	readCount    = 256                    // entries per read
)

// A feed is one follower's reading position in the stream of changes.
type feed struct {
	client redis.UniversalClient
	keys   rediskey.Keys
	at     wire.Position // of the last entry read
	conn   reader        // nil: not connected
}

// A reader is a dedicated connection for blocking reads, which must not delay look-ups.
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

// close releases the connection. The next read takes a new one, which after a failover may be to
// another server.
func (f *feed) close() {
	if f.conn != nil {
		_ = f.conn.Close() // nothing was written to it
		f.conn = nil
	}
}

// read returns the entries after f.at and waits up to block for them; a negative block does not
// wait. It does not advance f.at.
func (f *feed) read(ctx context.Context, block time.Duration) ([]redis.XMessage, error) {
	conn, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	from := f.at.ID
	if from == "" {
		from = "0-0"
	}
	// Cancelling does not interrupt a blocking read; only a deadline ends one on a dead connection.
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

// A glance is the end of the stream and the state of the membership hash at one time.
type glance struct {
	at       time.Time     // before the commands were sent
	head     wire.Position // zero: the stream has no head
	complete bool          // whether the membership hash is complete
}

// glance reads the end of the stream, the state of the membership hash and Redis's clock. It uses
// the client and not the feed's connection, which may lead to a server that is no longer the
// primary.
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

// headServer returns the server that has the head of the changes. In a Cluster the clock is read
// from that server too, so that no further server has to be reachable.
func (m *Mirror) headServer(ctx context.Context) (redis.Cmdable, error) {
	if cluster, ok := m.client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, m.keys.ChangesHead())
	}
	return m.client, nil
}

// end returns the position to start reading from: the head, or the last entry if the head is
// missing.
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
