package backends

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/consumer"
)

// The oldest Redis that has the commands used: XAUTOCLAIM, and SET with PXAT.
const (
	redisMajor = 6
	redisMinor = 2
)

var errOldRedis = errors.New("is too old; 6.2 or later is needed")

// ErrClusterNode is in the chain of the error that says that a plain client cannot work with a node
// of a Cluster.
var ErrClusterNode = errors.New("is a node of a Redis Cluster; write redis+cluster://host1,host2 into redis.url")

func (s *Stores) openRedis() error {
	tls, err := s.cfg.Redis.TLSConfig()
	if err != nil {
		return fmt.Errorf("read certificates: %w", err)
	}
	s.Clients, err = consumer.Connect(string(s.cfg.Redis.URL), consumer.ConnectOptions{
		Streams: len(s.cfg.Stream.Names) * s.cfg.Stream.Loops, Block: s.cfg.Stream.Block, TLS: tls, ClientName: "wardstream-detector",
	})
	if err != nil {
		return fmt.Errorf("redis.url: %w", err)
	}
	return nil
}

// CheckRedis is the part of [Stores.Check] about Redis. It returns the server's version.
func (s *Stores) CheckRedis(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	version, err = redisVersion(ctx, s.Clients.Ops)
	if errors.Is(err, ErrClusterNode) {
		return version, fmt.Errorf("Redis at %s %w", s.cfg.Redis.URL, err)
	}
	if err != nil {
		return "", fmt.Errorf("Redis at %s %s: %w", s.cfg.Redis.URL, redisTrouble(err), err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("Redis at %s reports no version: %q", s.cfg.Redis.URL, version)
	}
	if major < redisMajor || major == redisMajor && minor < redisMinor {
		return version, fmt.Errorf("Redis %s at %s %w", version, s.cfg.Redis.URL, errOldRedis)
	}
	return version, nil
}

// redisVersion asks the server for the version of Redis that it is compatible with.
func redisVersion(ctx context.Context, client redis.UniversalClient) (string, error) {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("ask for its version: %w", err)
	}
	server := ReadServer(info)
	if _, cluster := client.(*redis.ClusterClient); server.Mode == "cluster" && !cluster {
		return server.Redis, ErrClusterNode
	}
	return server.Redis, nil
}

// redisTrouble says why a server does not answer as it should, and what to do about it.
func redisTrouble(err error) string {
	for _, known := range []struct{ code, trouble string }{
		{"WRONGPASS", "refuses the login; correct user and password in redis.url"},
		{"NOAUTH", "wants a login; write redis://user:password@host into redis.url"},
		{"AUTH", "wants no password; take it out of redis.url"},
		{"NOPERM", "denies its user a command; detector check lists what is needed"},
		{"LOADING", "is still loading its data; start again once it has"},
	} {
		if redis.HasErrorPrefix(err, known.code) {
			return known.trouble
		}
	}
	return "can't be reached; start it or correct redis.url"
}
