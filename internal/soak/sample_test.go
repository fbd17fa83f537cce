package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A sample is what is seen at one time, or since the one before.
type sample struct {
	Elapsed     float64              `json:"elapsed_seconds"`
	Published   int64                `json:"events_published"`
	Acked       int64                `json:"events_acked"`
	Lag         int64                `json:"lag"`
	Pending     int64                `json:"pending"`
	Oldest      float64              `json:"oldest_seconds"`
	Processes   []usage              `json:"processes"`
	RedisMemory float64              `json:"redis_used_memory_bytes"`
	Stream      float64              `json:"redis_stream_bytes"` // of that; retention trims it now and then
	Keys        map[string]int       `json:"redis_keys"`
	Clients     int                  `json:"redis_connections"`
	Rows        int                  `json:"postgres_rows"` // those of unblocked users are kept, as history
	Active      int                  `json:"postgres_active_rows"`
	Backends    int                  `json:"postgres_connections"`
	Delays      map[string]quantiles `json:"detection_delay_seconds"`
	Checks      float64              `json:"checks_per_second"`
	Errors      int64                `json:"check_errors"`
	Unblocked   int64                `json:"unblocks"`

	checks int64 // in all
}

// usage is what one process has.
type usage struct {
	Name       string  `json:"name"`
	RSS        float64 `json:"rss_bytes"`
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"open_files"`
}

// quantiles of the delays from an attacker's last event to its being denied.
type quantiles struct {
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Samples int     `json:"samples"`
}

// watch takes and prints a sample each interval until ctx ends, and one more.
func (s *soak) watch(ctx context.Context) []sample {
	every := *interval
	if every <= 0 {
		every = max(*duration/60, time.Second).Round(time.Second)
	}
	if !*asJSON {
		fmt.Fprintf(os.Stdout, "soak: %d events/s for %s, seed %d\n%s\n", s.rate, *duration, s.seed, heading)
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	var out []sample
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticks.C:
		}
		next := sample{}
		if len(out) > 0 {
			next = out[len(out)-1]
		}
		if err := s.sample(&next); err != nil {
			s.wrong("take a sample: %v", err)
			continue
		}
		out = append(out, next)
		next.print()
	}
	return out
}

// sample replaces the sample before.
func (s *soak) sample(m *sample) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before := *m
	*m = sample{Elapsed: time.Since(s.began).Seconds(), Published: s.published.Load(), Unblocked: s.unblocked.Load()}
	m.checks, m.Errors = s.checks.Load(), s.failed.Load()
	m.Checks = float64(m.checks-before.checks) / (m.Elapsed - before.Elapsed)
	m.Delays = s.takeDelays()
	for _, p := range slices.Concat(s.workers, s.ingress) {
		values, err := p.Metrics()
		if err != nil {
			return err
		}
		m.Processes = append(m.Processes, usage{p.name, values["process_resident_memory_bytes"], values["go_goroutines"], values["process_open_fds"]})
		m.Acked += acked(values)
		m.Oldest = max(m.Oldest, values["wardstream_stream_oldest_unprocessed_seconds"])
	}
	if err := s.sampleRedis(ctx, m); err != nil {
		return err
	}
	row := s.postgres.Pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE revoked_at IS NULL),
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') FROM permanent_blocks`)
	if err := row.Scan(&m.Rows, &m.Active, &m.Backends); err != nil {
		return fmt.Errorf("ask Postgres: %w", err)
	}
	return nil
}

func (s *soak) sampleRedis(ctx context.Context, m *sample) error {
	groups, err := s.redis.Client.XInfoGroups(ctx, stream).Result()
	for _, g := range groups {
		m.Lag, m.Pending = g.Lag, g.Pending
	}
	if err != nil {
		return fmt.Errorf("ask Redis for the group: %w", err)
	}
	info, err := s.redis.Client.Info(ctx, "memory", "clients").Result()
	if err != nil {
		return fmt.Errorf("ask Redis: %w", err)
	}
	for line := range strings.Lines(info) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ":")
		value, _ := strconv.ParseFloat(text, 64)
		switch name {
		case "used_memory":
			m.RedisMemory = value
		case "connected_clients":
			m.Clients = int(value)
		}
	}
	bytes, err := s.redis.Client.MemoryUsage(ctx, stream, 0).Result()
	if err != nil {
		return fmt.Errorf("ask Redis for the stream: %w", err)
	}
	m.Stream = float64(bytes)
	m.Keys = map[string]int{}
	keys := s.redis.Client.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		parts := strings.SplitN(keys.Val(), ":", 3)
		m.Keys[parts[min(1, len(parts)-1)]]++
	}
	if keys.Err() != nil {
		return fmt.Errorf("count keys: %w", keys.Err())
	}
	return nil
}

// acked is how many entries a detector has acked: those that are dead letters are counted apart.
func acked(metrics map[string]float64) int64 {
	return int64(metrics["wardstream_entries_acked_total"] + metrics["wardstream_dead_letters_total"])
}

// keys is how many there are of all kinds.
func (m *sample) keys() (n int) {
	for _, of := range m.Keys {
		n += of
	}
	return n
}

// takeDelays returns the delays since the last time.
func (s *soak) takeDelays() map[string]quantiles {
	s.mu.Lock()
	taken := s.delays
	s.delays = [2][]time.Duration{}
	s.mu.Unlock()
	out := map[string]quantiles{}
	for i, p := range s.ingress {
		d := taken[i]
		slices.Sort(d)
		at := func(q float64) float64 {
			if len(d) == 0 {
				return 0
			}
			return d[min(int(q*float64(len(d))), len(d)-1)].Seconds()
		}
		out[p.name] = quantiles{P50: at(.5), P99: at(.99), Samples: len(d)}
	}
	return out
}

const heading = `                                                RSS MiB                  goroutines        files             Redis                         Postgres          denied after ms     mirror      checks
elapsed  published      acked    lag pend  old s  d1   d2   ic   mi    d1  d2  ic  mi   d1 d2 ic mi   MiB stream   keys conns  rows activ conns   p50    p99    p50    p99     /s errors`

func (m *sample) print() {
	if *asJSON {
		raw, err := json.Marshal(m)
		if err != nil {
			raw = []byte(err.Error())
		}
		fmt.Fprintf(os.Stdout, "%s\n", raw)
		return
	}
	const mib = 1 << 20
	p, plain, mirror := m.Processes, m.Delays["ingress-check"], m.Delays["ingress-check --mirror"]
	fmt.Fprintf(os.Stdout, "%7s %10d %10d %6d %4d %6.1f %4.0f %4.0f %4.0f %4.0f  %4.0f%4.0f%4.0f%4.0f  %3.0f%3.0f%3.0f%3.0f %5.1f  %5.1f %6d %5d %5d %5d %5d %5.1f %6.1f %6.1f %6.1f %6.0f %6d\n",
		time.Duration(m.Elapsed*float64(time.Second)).Round(time.Second), m.Published, m.Acked, m.Lag, m.Pending, m.Oldest,
		p[0].RSS/mib, p[1].RSS/mib, p[2].RSS/mib, p[3].RSS/mib, p[0].Goroutines, p[1].Goroutines, p[2].Goroutines, p[3].Goroutines,
		p[0].Files, p[1].Files, p[2].Files, p[3].Files, m.RedisMemory/mib, m.Stream/mib, m.keys(), m.Clients, m.Rows, m.Active, m.Backends,
		plain.P50*1000, plain.P99*1000, mirror.P50*1000, mirror.P99*1000, m.Checks, m.Errors)
}
