package consumer

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/redislua"
)

// Two processes of one consumer name would take each other's pending entries for their own and
// handle them a second time. So a running process holds a lease on its name, a key that it renews.
// A process that finds a lease waits until it is renewed, which shows that its holder runs, or
// expires. Where the holder ran on this host and has ended it does not wait.

const (
	leaseTTL   = 10 * time.Second
	leaseEvery = leaseTTL / 4
	leaseLook  = 100 * time.Millisecond // between two looks at another's lease
	leaseLooks = int(2 * leaseTTL / leaseLook)
	leaseNames = 1000 // of one host, at most
)

// ErrNameInUse says that another running process of the group has the consumer name.
var ErrNameInUse = errors.New("another worker of the group that is running has that consumer name")

//go:embed scripts/keep_lease.lua
var keepSource string

var keepScript = redislua.New(keepSource)

//go:embed scripts/end_lease.lua
var endSource string

var endScript = redislua.New(endSource)

// LeaseOptions configure [Acquire].
type LeaseOptions struct {
	Client redis.UniversalClient
	Prefix string // of the key
	Group  string
	// Name is the consumer name to acquire.
	Name string
	// Unique acquires Name with a number appended, "host.2", where another process has Name. The
	// same numbers come again after a restart, so that what was pending is found at once. Otherwise
	// a name that is in use is an error.
	Unique bool
	Logger *slog.Logger
}

// A Lease is the right of one process to a consumer name. Its methods are for one goroutine.
type Lease struct {
	// Name is the consumer's name.
	Name string

	o     LeaseOptions
	value string
}

// Acquire waits for the lease on a name, for up to ten seconds where its last holder ended without
// releasing it. The error is [ErrNameInUse], or Redis's, or that of ctx.
func Acquire(ctx context.Context, o LeaseOptions) (*Lease, error) {
	l := &Lease{o: o, value: strings.Join([]string{newToken(), thisHost(), strconv.Itoa(os.Getpid())}, " ")}
	for n := 1; ; n++ {
		l.Name = o.Name
		if n > 1 {
			l.Name += "." + strconv.Itoa(n)
		}
		ok, err := l.acquire(ctx)
		switch {
		case err != nil:
			return nil, fmt.Errorf("acquire the consumer name: %w", err)
		case ok:
			return l, nil
		case !o.Unique || n == leaseNames:
			return nil, ErrNameInUse
		}
	}
}

func (l *Lease) key() string {
	return rediskey.Keys{Prefix: l.o.Prefix}.Consumer(l.o.Group, l.Name)
}

// acquire reports whether the lease is ours; false means that a running process has it.
func (l *Lease) acquire(ctx context.Context) (bool, error) {
	var left time.Duration // of the other's lease when it was last looked at
	for range leaseLooks {
		ours, err := l.o.Client.SetNX(ctx, l.key(), l.value, leaseTTL).Result()
		if ours || err != nil {
			return ours, err
		}
		pipe := l.o.Client.Pipeline()
		held, ttl := pipe.Get(ctx, l.key()), pipe.PTTL(ctx, l.key())
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return false, err
		}
		switch state := stateOf(held.Val()); {
		case state == dead:
			if err := endScript.Run(ctx, l.o.Client, []string{l.key()}, held.Val()).Err(); err != nil {
				return false, err
			}
			continue
		case state == alive && l.o.Unique, left > 0 && ttl.Val() > left: // renewed
			return false, nil
		}
		left = ttl.Val()
		pause(ctx, leaseLook)
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
	return false, nil // it neither expires nor is renewed: not one of ours
}

// Keep renews the lease until ctx ends, then releases it. Failures are only logged: the worker goes
// on.
func (l *Lease) Keep(ctx context.Context) {
	ticker := time.NewTicker(leaseEvery)
	defer ticker.Stop()
	ours := true
	for {
		select {
		case <-ctx.Done():
			l.Release(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
		}
		renewed, err := l.renew(ctx)
		if err != nil {
			continue // an outage, which the read loops report
		}
		if ours && !renewed {
			l.o.Logger.Warn("another worker has taken this one's consumer name while it was away; entries may be handled twice: give each a name of its own",
				"consumer", l.Name)
		}
		ours = renewed
	}
}

func (l *Lease) renew(ctx context.Context) (ours bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	n, err := keepScript.Run(ctx, l.o.Client, []string{l.key()}, l.value, leaseTTL.Milliseconds()).Int()
	return n == 1, err
}

// Release ends the lease, so that the name is free immediately.
func (l *Lease) Release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = endScript.Run(ctx, l.o.Client, []string{l.key()}, l.value).Err() // it expires by itself
}

// A holding is what is known of a lease's holder.
type holding int

const (
	unknown holding = iota // it ran on another host, or in another container
	alive                  // a process of its ID runs here
	dead                   // there is none
)

// stateOf returns what is known of the holder of a lease with the value.
func stateOf(value string) holding {
	parts := strings.Fields(value)
	if len(parts) != 3 || parts[1] != thisHost() {
		return unknown
	}
	pid, err := strconv.Atoi(parts[2])
	if err != nil || pid <= 0 {
		return unknown
	}
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return dead
	}
	return alive
}

// thisHost identifies the space of process IDs: the host, and the container on it. Where that is
// unknown it returns what equals no other.
func thisHost() string {
	host, err := os.Hostname()
	space, spaceErr := os.Readlink("/proc/self/ns/pid")
	if err != nil || spaceErr != nil {
		return rand.Text()
	}
	return strings.Join(strings.Fields(host+"/"+space), "_")
}
