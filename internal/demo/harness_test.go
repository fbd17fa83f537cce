package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/config"
)

// A running is a dev or a demo that runs beside the test, and its lines.
type running struct {
	head  head
	lines chan report
	stop  func()
	ended chan error
}

// launch starts what run runs and waits for its first line.
func launch(t *testing.T, run func(ctx context.Context, o Output) error) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	d := &running{lines: make(chan report, 1000), stop: stop, ended: make(chan error, 1)}
	o := output(w)
	o.JSON = true
	go func() {
		err := run(ctx, o)
		_ = w.CloseWithError(errors.Join(err, io.EOF))
		d.ended <- err
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatalf("it didn't start: %v", <-d.ended)
	}
	decode(t, lines.Bytes(), &d.head)
	go func() {
		defer close(d.lines)
		for lines.Scan() {
			var one report
			if json.Unmarshal(lines.Bytes(), &one) == nil {
				d.lines <- one
			}
		}
	}()
	t.Cleanup(func() { d.end(t) })
	return d
}

func (d *running) end(t *testing.T) {
	t.Helper()
	d.stop()
	if err := <-d.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	d.ended <- nil
}

// wait waits for a report of a type about a scope or an actor.
func (d *running) wait(t *testing.T, typ, about string) report {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case r, ok := <-d.lines:
			if !ok {
				t.Fatalf("it ended before it reported %s of %s", typ, about)
			}
			if r.Type == typ && (r.ScopeValue == about || r.Actor == about) {
				return r
			}
		case <-timeout:
			t.Fatalf("no report of type %s about %s", typ, about)
		}
	}
}

// dev launches Dev on free ports.
func dev(t *testing.T, o DevOptions) *running {
	t.Helper()
	if o.Config == nil {
		o.Config = quietConfig(t)
	}
	o.RedisAddr, o.IngressAddr = "127.0.0.1:0", "127.0.0.1:0"
	return launch(t, func(ctx context.Context, out Output) error {
		o.Output = out
		return Dev(ctx, o)
	})
}

// quietConfig is the built-in configuration with metrics on a free port.
func quietConfig(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := builtinConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTP.Addr = "127.0.0.1:0"
	return cfg
}

// client is an application's: with go-redis's own defaults.
func client(t *testing.T, d *running) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(d.head.Redis)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func publish(t *testing.T, c *redis.Client, fields ...string) {
	t.Helper()
	if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "audit:events", Values: fields}).Err(); err != nil {
		t.Fatal(err)
	}
}

// ask is the status that ingress-check answers a request with those headers with.
func ask(t *testing.T, d *running, headers ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.head.Ingress, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
