package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A RedisEnv is one test's share of a Redis server.
type RedisEnv struct {
	URL    string        // redis://host:port/db
	Client *redis.Client // sends each command once; closed at the test's end
	Prefix string        // all keys of the test start with it; they are deleted at its end
}

// Redis returns a share of the Redis server that the test binary's tests share.
// Nothing may flush it.
func Redis(t testing.TB) *RedisEnv {
	t.Helper()
	s, err := sharedRedis()
	if err != nil {
		t.Fatal(err)
	}
	env := &RedisEnv{URL: s.url, Client: redisClient(t, s.url), Prefix: "ws-test-" + random()}
	t.Cleanup(func() { env.deleteKeys(t) })
	return env
}

// deleteKeys deletes the test's keys; 1,000 keys are looked at a call.
func (e *RedisEnv) deleteKeys(t testing.TB) {
	client := redisClient(nil, e.URL) // the test may have closed its own
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var cursor uint64
	for {
		keys, next, err := client.Scan(ctx, cursor, e.Prefix+"*", 1000).Result()
		if err == nil && len(keys) > 0 {
			err = client.Unlink(ctx, keys...).Err()
		}
		if err != nil {
			t.Errorf("delete the test's keys: %v", err)
			return
		}
		if cursor = next; cursor == 0 {
			return
		}
	}
}

// redisClient connects to url; t, if any, closes it.
func redisClient(t testing.TB, url string) *redis.Client {
	opts, err := redis.ParseURL(url)
	if err != nil {
		panic(err) // our own URLs parse, and the variable's was parsed at start
	}
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.ContextTimeoutEnabled = true
	// By default go-redis 9.23 tries them, and connections that are made at once race to say that the
	// server has none.
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := redis.NewClient(opts)
	if t != nil {
		t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	}
	return c
}

// startSharedRedis finds or starts the shared server.
func startSharedRedis() (server, error) {
	if url := os.Getenv(redisVariable); url != "" {
		if _, err := redis.ParseURL(url); err != nil {
			return server{}, fmt.Errorf("read %s: %w", redisVariable, err)
		}
		return server{url: url}, nil
	}
	run := &dockertest.RunOptions{Repository: redisImage, Tag: redisTag, Cmd: []string{"redis-server", "--save", ""}}
	addr, stop, dockerErr := container(run, "6379/tcp", func(addr string) error { return pingRedis(addr, 0) })
	if dockerErr == nil {
		return running.keep(server{url: "redis://" + addr + "/0", stop: stop}), nil
	}
	local, err := startRedis(nil)
	if err != nil {
		return server{}, fmt.Errorf("tests need Redis: install redis-server or start Docker, or set %s (%w; %w)", redisVariable, dockerErr, err)
	}
	return running.keep(server{url: local.url(), stop: local.remove}), nil
}

// A localRedis is a redis-server process of our own.
type localRedis struct {
	binary, dir string
	before      []string // arguments, if binary is a program that starts redis-server
	port        int
	args        []string
	clock       string // the file that says how far its clock is off; "" if that can't change
	process     *process
}

// startRedis starts redis-server on a free port with extra arguments.
func startRedis(args []string) (*localRedis, error) { return startRedisBy("", args) }

// startRedisBy is startRedis with a clock that steps, by a library that serves that.
func startRedisBy(library string, args []string) (*localRedis, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("find redis-server: %w", err)
	}
	dir, err := serverDir(account{})
	if err != nil {
		return nil, err
	}
	r := &localRedis{binary: binary, dir: dir, args: args}
	if library != "" {
		if err := r.fakeClock(library); err != nil {
			return nil, err
		}
	}
	for range 5 { // another process may take the port first
		if r.port, err = freePort(); err != nil {
			break
		}
		if err = r.start(); err == nil {
			return r, nil
		}
	}
	_ = os.RemoveAll(dir)
	return nil, err
}

func (r *localRedis) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }
func (r *localRedis) url() string  { return "redis://" + r.addr() + "/0" }

// start starts the process and waits until it has loaded its data.
func (r *localRedis) start() error {
	p, err := launch(account{}, syscall.SIGKILL, r.binary, slices.Concat(r.before, r.arguments())...)
	if err != nil {
		return err
	}
	r.process = p
	if err := p.ready(func() error { return r.answers(p.cmd.Process.Pid) }); err != nil {
		r.kill()
		return fmt.Errorf("start redis-server: %w", err)
	}
	return nil
}

// arguments of redis-server: a configuration file must come first, what overrides our
// choices last.
func (r *localRedis) arguments() []string {
	args := []string{
		"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--daemonize", "no", "--save", "", "--loglevel", "warning",
	}
	if len(r.args) > 0 && !strings.HasPrefix(r.args[0], "--") {
		return slices.Concat(r.args[:1], args, r.args[1:])
	}
	return append(args, r.args...)
}

// answers asks for the process ID, so that another server on the port isn't
// taken for ours. A server that wants a password answers with an error, which is all that
// can be asked of it.
func (r *localRedis) answers(pid int) error {
	err := pingRedis(r.addr(), pid)
	if redis.HasErrorPrefix(err, "NOAUTH") {
		return nil
	}
	return err
}

func (r *localRedis) kill() { r.process.end() }

func (r *localRedis) remove() {
	r.kill()
	_ = os.RemoveAll(r.dir)
}

var errOtherServer = errors.New("another server answers on the port")

// pingRedis asks whether the server at addr takes commands and, unless pid is 0,
// is that process.
func pingRedis(addr string, pid int) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second) // go-redis would log its failure
	if err != nil {
		return fmt.Errorf("connect to Redis: %w", err)
	}
	_ = conn.Close()
	c := redisClient(nil, "redis://"+addr)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := c.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("ask Redis who it is: %w", err)
	}
	if pid != 0 && !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", pid)) {
		return errOtherServer
	}
	return nil
}

// A PrivateRedisEnv is a Redis server of one test's own. It may be flushed,
// killed and started again; its port and its directory stay.
type PrivateRedisEnv struct {
	RedisEnv

	Addr string // host:port
	Dir  string // the server's directory

	t      testing.TB
	server *localRedis
}

// PrivateRedis starts a redis-server for t alone, always from the local binary.
// args are further arguments of redis-server, such as "--appendonly", "yes"; nothing is persisted
// without them. A configuration file comes first among them.
func PrivateRedis(t testing.TB, args ...string) *PrivateRedisEnv {
	t.Helper()
	s, err := startRedis(args)
	return privateRedis(t, s, err)
}

func privateRedis(t testing.TB, s *localRedis, err error) *PrivateRedisEnv {
	t.Helper()
	if err != nil {
		t.Fatalf("test needs a Redis server of its own; install redis-server: %v", err)
	}
	t.Cleanup(s.remove)
	return &PrivateRedisEnv{
		RedisEnv: RedisEnv{URL: s.url(), Client: redisClient(t, s.url()), Prefix: "ws-test-" + random()},
		Addr:     s.addr(), Dir: filepath.Clean(s.dir), t: t, server: s,
	}
}

// Kill ends the server as kill -9 does and returns once it is gone.
func (e *PrivateRedisEnv) Kill() { e.server.kill() }

// Shutdown has the server end in order, as SIGTERM does: what it persists is complete. It returns
// once the server is gone.
func (e *PrivateRedisEnv) Shutdown() {
	e.t.Helper()
	if err := e.server.process.stop(syscall.SIGTERM); err != nil {
		e.t.Fatal(err)
	}
}

// Restart starts the server again, killing it first if it runs, and returns once
// it has loaded what it persisted.
func (e *PrivateRedisEnv) Restart() {
	e.t.Helper()
	e.server.kill()
	if err := e.server.start(); err != nil {
		e.t.Fatal(err)
	}
}
