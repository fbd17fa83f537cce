package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// clusterFault kills one primary of a Cluster while two ingress-checks are asked all the time, and
// has its replica elected. That is a world of its own, which is there for this round; the workers
// go on undisturbed.
func clusterFault() fault {
	return fault{name: "cluster primary killed under ingress load", alone: true, do: func(ctx context.Context, w *world, r *rand.Rand) (func() error, error) {
		c, err := startCluster(w)
		defer c.end()
		if err != nil {
			return nil, err
		}
		return nil, c.killPrimary(ctx, w, r.IntN(len(c.Primaries)))
	}}
}

var errIngress = errors.New("ingress isn't as it must be")

// killPrimary kills a primary, and waits until everything is normal without it.
func (c *cluster) killPrimary(ctx context.Context, w *world, gone int) error {
	if err := eventually(ctx, func() error { return errors.Join(c.normal(ctx), c.replicated(ctx)) }); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	v := &watch{cluster: c, gone: gone, wrong: make([][]string, len(c.Primaries))}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var asking sync.WaitGroup
	for _, s := range c.ingress {
		for range 2 {
			asking.Go(func() { v.follow(watching, s) })
		}
	}
	wait(100 * time.Millisecond)
	w.line.add("primary %d of the cluster is killed", gone)
	c.Primaries[gone].Kill()
	elected := c.Elected(gone)
	w.line.add("its replica is elected")
	err := eventually(ctx, func() error { return c.normal(ctx) })
	w.t.Logf("all is normal %s after the election", time.Since(elected).Round(time.Millisecond))
	stop()
	asking.Wait()
	if err == nil {
		w.line.add("all is normal, %d answers since", v.asked)
		err = c.changes(ctx, w, gone)
	}
	for i, wrong := range v.wrong {
		// On a machine that stands still others may be taken for dead, too.
		if len(wrong) > 0 && (i == gone || c.leads(ctx, i)) {
			err = errors.Join(err, fmt.Errorf("%w, with primary %d gone, %d times of %d: %s", errIngress, gone, len(wrong), v.asked, wrong[0]))
		}
	}
	return err
}

// changes makes a block where the new primary writes, and takes it back.
func (c *cluster) changes(ctx context.Context, w *world, primary int) error {
	addr := c.spare[primary]
	for _, args := range [][]string{{"block", "ip", addr, "--ttl", "1h", "--reason", "chaos"}, {"unblock", "ip", addr, "--reason", "chaos"}} {
		if _, err := w.commandWith(c.env, args...); err != nil {
			return err
		}
		for _, s := range c.ingress {
			if err := eventually(ctx, func() error { return c.is(ctx, s, addr, args[0] == "block") }); err != nil {
				return fmt.Errorf("after %s: %w", args[0], err)
			}
		}
	}
	return nil
}

// leads reports whether a primary still is one.
func (c *cluster) leads(ctx context.Context, i int) bool {
	role, err := c.Primaries[i].Client.Do(ctx, "ROLE").Slice()
	return err == nil && role[0] == "master"
}

var errBehind = errors.New("a replica is behind")

// replicated says whether each replica has what its primary has.
func (c *cluster) replicated(ctx context.Context) error {
	for i := range c.Primaries {
		primary, err := c.Primaries[i].Client.Do(ctx, "ROLE").Slice()
		if err != nil {
			return err
		}
		replica, err := c.Replicas[i].Client.Do(ctx, "ROLE").Slice()
		if err != nil {
			return err
		}
		has, _ := replica[len(replica)-1].(int64)
		if last, ok := primary[1].(int64); !ok || has < last {
			return fmt.Errorf("%w: %v, %v", errBehind, primary, replica)
		}
	}
	return nil
}

// eventually waits until check returns nil.
func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := check()
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait(20 * time.Millisecond)
	}
}
