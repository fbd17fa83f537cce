package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/wardstream/wardstream/internal/config"
)

// Where [Dev] listens by default, if that is free.
const (
	DefaultRedisAddr   = "127.0.0.1:6379"
	DefaultIngressAddr = "127.0.0.1:8080"
)

// DevOptions are what dev is made of. An address that is empty means its default, or if
// that is in use, any free port; an address that the user gave must be available.
type DevOptions struct {
	Config      *config.Config // nil: the built-in one, with all built-in rules
	RedisAddr   string
	IngressAddr string
	Output      Output
}

// Dev keeps Redis, a worker and ingress-check up in this process, and shows
// enforcement events as they come, until ctx ends.
func Dev(ctx context.Context, o DevOptions) error {
	cfg, notes := o.Config, []string(nil)
	if cfg == nil {
		var err error
		if cfg, err = builtinConfig(); err != nil {
			return err
		}
	} else {
		notes = replaced(cfg)
	}
	where := place{redisAddr: o.RedisAddr, ingressAddr: o.IngressAddr, log: o.Output.Log, version: o.Output.Version}
	more, err := where.choose(cfg)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, cfg, where)
	if err != nil {
		return err
	}
	defer w.close()
	h := w.head()
	h.Title = "Wardstream dev: Redis, worker and ingress-check in this process, until Ctrl-C"
	h.Invite = "Publish events, and ask whether a client may pass:"
	h.ShowRule, h.Notes = true, slices.Concat(notes, more)
	p := o.Output.printer(func(t time.Time) string { return t.Local().Format(time.TimeOnly) }, 0)
	defer p.close()
	if err := p.start(h); err != nil {
		return err
	}
	return show(ctx, w, p)
}

// show prints what happens until ctx ends.
func show(ctx context.Context, w *world, p printer) error {
	books := newLedger(nil)
	stage := raise(ctx, w, nil, 1)
	var failed error
	for h := range stage.happened {
		if failed == nil {
			failed = record(p, books, h)
		}
		if failed != nil {
			stage.end()
		}
	}
	return errors.Join(failed, stage.err)
}

// replaced changes what a file can't have its way in, and says so.
func replaced(cfg *config.Config) []string {
	var notes []string
	notes = append(notes, "redis.url of "+cfg.File+" is not used: Redis is in this process")
	if cfg.Postgres.URL != "" {
		notes = append(notes, "postgres.url of "+cfg.File+" is not used: permanent blocks are in memory")
	}
	cfg.Events.Stdout = false // what is shown here is for people
	if cfg.Events.Stream == "" {
		cfg.Events.Stream = "audit:enforcement"
	}
	return notes
}

// choose settles where everything listens: at the configured address, else at its default,
// else, with a note, at any free port.
func (p *place) choose(cfg *config.Config) (notes []string, err error) {
	metrics := cfg.HTTP.Addr
	for _, listener := range []struct {
		addr          *string
		fixed         string // the flag, if it was given
		who, fallback string
	}{
		{&p.redisAddr, "--redis-addr", "Redis", DefaultRedisAddr},
		{&p.ingressAddr, "--ingress-addr", "ingress-check", DefaultIngressAddr},
		{&cfg.HTTP.Addr, "", "metrics", metrics},
	} {
		addr := listener.addr
		given := *addr != "" && listener.fixed != ""
		if *addr == "" {
			*addr = listener.fallback
		}
		if *addr == "" {
			continue // no metrics wanted
		}
		err := probe(*addr)
		switch {
		case err == nil:
		case given:
			return nil, fmt.Errorf("%s: %w; name another address", listener.fixed, err)
		default:
			host, _, _ := net.SplitHostPort(*addr)
			notes = append(notes, fmt.Sprintf("%s is taken, so %s is on another port", *addr, listener.who))
			*addr = net.JoinHostPort(host, "0")
		}
	}
	return notes, nil
}

// probe reports why nothing can listen at addr.
func probe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}
