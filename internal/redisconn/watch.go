package redisconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	watchEvery    = 2 * time.Second
	watchTimeout  = time.Second
	refusedEvery  = time.Minute // between attempts if the server refuses INFO
	sentinelsAddr = "FailoverClient"
)

// A Server holds what a Redis server reports about itself.
type Server struct {
	RunID   string        // of its process; changes at a restart
	Uptime  time.Duration // of the process, in whole seconds
	Replica bool          // it follows a primary
	CutOff  bool          // it is a replica without a connection to its primary, so its data is stale
}

var errNotInfo = errors.New("the reply to INFO has no role")

// ParseServer parses the concatenated replies to INFO server and INFO replication. Only the role is
// required: hosted Redis services leave out other fields.
func ParseServer(info string) (Server, error) {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	if fields["role"] == "" {
		return Server{}, errNotInfo
	}
	s := Server{RunID: fields["run_id"], Replica: fields["role"] == "slave" || fields["role"] == "replica"}
	if s.RunID == "" {
		s.RunID = fields["master_replid"]
	}
	if n, err := strconv.ParseInt(fields["uptime_in_seconds"], 10, 32); err == nil {
		s.Uptime = time.Duration(n) * time.Second
	}
	s.CutOff = s.Replica && fields["master_link_status"] == "down"
	return s, nil
}

// A notice is a log line.
type notice struct {
	level slog.Level
	text  string
}

// notices returns the log lines for the changes between two results; before may be nil.
func notices(before *Server, now Server) []notice {
	var notices []notice
	if before == nil {
		before = &Server{RunID: now.RunID}
	}
	if before.RunID != now.RunID {
		notices = append(notices, notice{slog.LevelWarn, "another Redis server answers now, or the same one after a restart"})
	}
	switch {
	case now.CutOff && !before.CutOff:
		notices = append(notices, notice{slog.LevelError, "Redis is a replica that is cut off from its primary: what it holds is stale"})
	case now.Replica && !now.CutOff && (!before.Replica || before.CutOff):
		notices = append(notices, notice{slog.LevelWarn, "Redis is a replica: it can be read, not written"})
	case !now.Replica && before.Replica:
		notices = append(notices, notice{slog.LevelInfo, "Redis is a primary again"})
	}
	return notices
}

// A Watch detects which server the client's address currently leads to and whether it is a primary.
// It uses a new connection each time, since the client's connections lead to the old server until
// they are replaced after [Lifetime]. A nil Watch does nothing. It is safe for concurrent use, but
// Run must be called only once.
type Watch struct {
	probe   *redis.Client
	log     *slog.Logger
	before  *Server                // the last successful result
	now     atomic.Pointer[Server] // nil: not known
	refused bool                   // that was logged
}

// NewWatch returns a Watch of the server of client, or nil for a Cluster or Sentinel client, which
// detect failovers themselves. It does not open a connection.
func NewWatch(client redis.UniversalClient, log *slog.Logger) *Watch {
	c, ok := client.(*redis.Client)
	if !ok || c.Options().Addr == sentinelsAddr {
		return nil
	}
	o := *c.Options()
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns = 1, 0, 0
	o.ConnMaxLifetime, o.ConnMaxLifetimeJitter = time.Nanosecond, 0
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	return &Watch{probe: redis.NewClient(&o), log: log}
}

// Server returns the last result; ok is false if it failed or there is none yet.
func (w *Watch) Server() (s Server, ok bool) {
	if w == nil {
		return Server{}, false
	}
	if now := w.now.Load(); now != nil {
		return *now, true
	}
	return Server{}, false
}

// Run asks the server every two seconds until ctx ends, and logs changes.
func (w *Watch) Run(ctx context.Context) {
	if w == nil {
		return
	}
	defer w.probe.Close()
	next := time.NewTimer(w.look(context.WithoutCancel(ctx)))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			next.Reset(w.look(ctx))
		}
	}
}

// look asks the server once and returns how long to wait before the next time.
func (w *Watch) look(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	now, err := w.ask(ctx)
	if err != nil {
		w.now.Store(nil) // an outage, which users of the client report
		if !isRefusal(err) {
			return watchEvery
		}
		if !w.refused {
			w.refused = true
			w.log.WarnContext(ctx, "Redis does not say whether it is a replica: let the user run INFO", "error", err)
		}
		return refusedEvery
	}
	for _, n := range notices(w.before, now) {
		w.log.Log(ctx, n.level, n.text, "run_id", now.RunID, "uptime", now.Uptime.String()) //nolint:sloglint // one of a few constants
	}
	w.before, w.refused = &now, false
	w.now.Store(&now)
	return watchEvery
}

func (w *Watch) ask(ctx context.Context) (Server, error) {
	var server, replication *redis.StringCmd
	_, err := w.probe.Pipelined(ctx, func(p redis.Pipeliner) error {
		server, replication = p.Info(ctx, "server"), p.Info(ctx, "replication")
		return nil
	})
	if err != nil {
		return Server{}, fmt.Errorf("ask Redis for its role: %w", err)
	}
	return ParseServer(server.Val() + "\r\n" + replication.Val())
}

// isRefusal reports whether the server refuses the command, which will not change soon.
func isRefusal(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "ERR unknown command") || errors.Is(err, errNotInfo)
}
