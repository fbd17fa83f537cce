package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
)

const (
	redisImage, redisTag       = "redis", "7-alpine"
	postgresImage, postgresTag = "postgres", "16-alpine"

	dockerSocket  = "/var/run/docker.sock"
	probeTimeout  = 2 * time.Second
	containerLife = 1800 // seconds; ends what a killed test binary left behind
)

var errNoDocker = errors.New("no Docker engine answers")

// container runs an image and waits until answers, given the address of port,
// returns nil.
func container(run *dockertest.RunOptions, port string, answers func(addr string) error) (string, func(), error) {
	pool, err := engine()
	if err != nil {
		return "", nil, err
	}
	res, err := pool.RunWithOptions(run, func(c *docker.HostConfig) { c.AutoRemove = true })
	if err != nil {
		return "", nil, fmt.Errorf("run container of %s: %w", run.Repository, err)
	}
	stop := func() { _ = pool.Purge(res) } // it expires if that fails
	_ = res.Expire(containerLife)
	addr := res.GetHostPort(port)
	if err := poll(startTimeout, func() error { return answers(addr) }); err != nil {
		stop()
		return "", nil, fmt.Errorf("reach container of %s: %w", run.Repository, err)
	}
	return addr, stop, nil
}

// engine connects to Docker, which may have a client here but no engine.
func engine() (*dockertest.Pool, error) {
	if _, err := os.Stat(dockerSocket); err != nil && os.Getenv("DOCKER_HOST") == "" {
		return nil, errNoDocker
	}
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDocker, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	if err := pool.Client.PingWithContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDocker, err)
	}
	return pool, nil
}
