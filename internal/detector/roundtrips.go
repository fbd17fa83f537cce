package detector

import (
	"context"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// roundTrips is a client hook that counts the round trips to Redis, and the
// commands that they carried.
type roundTrips struct{ trips, commands prometheus.Counter }

func newRoundTrips(reg prometheus.Registerer) roundTrips {
	h := roundTrips{
		trips:    prometheus.NewCounter(prometheus.CounterOpts{Name: "wardstream_redis_round_trips_total", Help: "Round trips to Redis. A pipeline counts once."}),
		commands: prometheus.NewCounter(prometheus.CounterOpts{Name: "wardstream_redis_commands_total", Help: "Commands sent to Redis."}),
	}
	reg.MustRegister(h.trips, h.commands)
	return h
}

func (h roundTrips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.trips.Inc()
		h.commands.Inc()
		return next(ctx, cmd)
	}
}

func (h roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.trips.Inc()
		h.commands.Add(float64(len(cmds)))
		return next(ctx, cmds)
	}
}
