package consumer

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func (b *fixture) lease(name string, unique bool) LeaseOptions {
	return LeaseOptions{
		Client: b.client, Prefix: b.prefix, Group: testGroup, Name: name, Unique: unique, Logger: slog.New(slog.NewTextHandler(b.t.Output(), nil)),
	}
}

func (b *fixture) acquire(o LeaseOptions) *Lease {
	b.t.Helper()
	l, err := Acquire(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// deadProcess is the ID of a process that has ended.
func deadProcess(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^$")
	cmd.Env = nil
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// TestLeaseGivesEachProcessItsOwnName: the host's name, and the same numbers again for those
// that come back.
func TestLeaseGivesEachProcessItsOwnName(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	first, second, third := b.acquire(b.lease("host", true)), b.acquire(b.lease("host", true)), b.acquire(b.lease("host", true))
	for i, l := range []*Lease{first, second, third} {
		if want := []string{"host", "host.2", "host.3"}[i]; l.Name != want {
			t.Errorf("process %d is called %q, want %q", i+1, l.Name, want)
		}
		if ttl := b.client.PTTL(t.Context(), l.key()).Val(); ttl <= 0 || ttl > leaseTTL {
			t.Errorf("the lease of %s has a TTL of %s", l.Name, ttl)
		}
	}
	second.Release(t.Context())
	if again := b.acquire(b.lease("host", true)); again.Name != "host.2" {
		t.Errorf("who comes back is called %q", again.Name)
	}
	if other := b.acquire(LeaseOptions{Client: b.client, Prefix: b.prefix, Group: "others", Name: "host"}); other.Name != "host" {
		t.Errorf("in another group it is called %q", other.Name)
	}
}

// TestLeaseOfConfiguredNameInUseIsRefused: as long as the other lives; then it is free, at once if
// that can be known.
func TestLeaseOfConfiguredNameInUseIsRefused(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	first := b.acquire(b.lease("w1", false))
	kept, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); first.Keep(kept) }()
	if _, err := Acquire(t.Context(), b.lease("w1", false)); !errors.Is(err, ErrNameInUse) {
		t.Errorf("a second process of the name: %v", err)
	}
	stop()
	<-ended
	b.acquire(b.lease("w1", false)).Release(t.Context())

	gone := strings.Join([]string{"token", thisHost(), strconv.Itoa(deadProcess(t))}, " ")
	for _, unique := range []bool{false, true} {
		if err := b.client.Set(t.Context(), first.key(), gone, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		l := b.acquire(b.lease("w1", unique))
		if l.Name != "w1" {
			t.Errorf("after the holder was killed it is called %q", l.Name)
		}
		l.Release(t.Context())
	}
}

// TestLeaseOfAnotherHostIsAwaited: it expires, or is renewed, and then the name is in use.
func TestLeaseOfAnotherHostIsAwaited(t *testing.T) {
	t.Parallel()
	const there = "token elsewhere/pid:[1] 1"
	for name, unique := range map[string]bool{"chosen": false, "the host's": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFixture(t)
			key := b.prefix + ":consumer:" + testGroup + ":w1"
			if err := b.client.Set(t.Context(), key, there, 3*leaseLook).Err(); err != nil {
				t.Fatal(err)
			}
			l := b.acquire(b.lease("w1", unique))
			if l.Name != "w1" {
				t.Errorf("after the lease expired it is called %q", l.Name)
			}
			l.Release(t.Context())

			renewing, stop := context.WithCancel(t.Context())
			defer stop()
			if err := b.client.Set(t.Context(), key, there, leaseTTL).Err(); err != nil {
				t.Fatal(err)
			}
			go func() {
				for renewing.Err() == nil {
					b.client.PExpire(renewing, key, leaseTTL)
					pause(renewing, leaseLook/3)
				}
			}()
			l, err := Acquire(t.Context(), b.lease("w1", unique))
			if unique && (err != nil || l.Name != "w1.2") || !unique && !errors.Is(err, ErrNameInUse) {
				t.Errorf("while it is renewed: %+v, %v", l, err)
			}
		})
	}
}

// TestLeaseIsRenewed: also where Redis has lost it, and not where another has it by now, which is
// said once.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	l := b.acquire(b.lease("w1", false))
	for name, before := range map[string]func() error{
		"about to expire": func() error { return b.client.PExpire(t.Context(), l.key(), time.Second).Err() },
		"lost":            func() error { return b.client.Del(t.Context(), l.key()).Err() },
	} {
		if err := before(); err != nil {
			t.Fatal(err)
		}
		ours, err := l.renew(t.Context())
		if ttl := b.client.PTTL(t.Context(), l.key()).Val(); !ours || err != nil || ttl < leaseTTL/2 {
			t.Errorf("%s: ours %t, %v, TTL %s", name, ours, err, ttl)
		}
	}
	if err := b.client.Set(t.Context(), l.key(), "another", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if ours, err := l.renew(t.Context()); ours || err != nil {
		t.Errorf("another's: ours %t, %v", ours, err)
	}
	l.Release(t.Context())
	if held := b.client.Get(t.Context(), l.key()).Val(); held != "another" {
		t.Errorf("another's lease is %q now", held)
	}
}

func TestLeaseAcquireErrors(t *testing.T) {
	t.Parallel()
	b, env := privateFixture(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Acquire(ended, b.lease("w1", false)); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	env.Kill()
	if _, err := Acquire(t.Context(), b.lease("w1", true)); err == nil || errors.Is(err, ErrNameInUse) {
		t.Errorf("Redis down: %v", err)
	}
}
