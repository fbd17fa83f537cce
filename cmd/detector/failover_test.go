package main

import (
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// A pair is the server that has the stream, and the replica that is promoted when it is gone.
type pair struct {
	url              string // how programs reach whichever is the primary
	primary, replica *testenv.PrivateRedisEnv
	promoted         func() // waits until the replica has been promoted
}

func sentinelPair(t testing.TB) pair {
	s := testenv.Sentinel(t)
	return pair{s.URL, s.Primary, s.Replica, func() { s.FailOver(t) }}
}

func clusterPair(t testing.TB) pair {
	c := testenv.Cluster(t)
	i := c.PrimaryOf(c.Primaries[0].Prefix + ":events") // the installation's stream
	p := pair{c.URL, c.Primaries[i], c.Replicas[i], func() { c.Elected(i) }}
	p.primary.Prefix = c.Primaries[0].Prefix
	return p
}

func TestSentinelFailoverDuringAttack(t *testing.T) {
	t.Parallel()
	failOverInTheMiddle(t, sentinelPair(t))
}

func TestClusterFailoverDuringAttack(t *testing.T) {
	t.Parallel()
	failOverInTheMiddle(t, clusterPair(t))
}

// failOverInTheMiddle kills a worker and the primary of the stream while two workers and two
// ingress-checks are at work. Every event counts once all the same, and the ingress-checks deny
// exactly the blocked.
func failOverInTheMiddle(t *testing.T, p pair) {
	pg := testenv.Postgres(t)
	in := install(t, &testenv.RedisEnv{URL: p.url, Client: p.primary.Client, Prefix: p.primary.Prefix}, pg, workloadConfig())
	work := newWorkload(t, in)
	checks := []*ingress{
		guard(t, "--redis-url", p.url, "--postgres-url", pg.URL, "--key-prefix", in.redis.Prefix),
		guard(t, "--redis-url", p.url, "--postgres-url", pg.URL, "--key-prefix", in.redis.Prefix, "--mirror"),
	}
	victim, survivor := in.start("--consumer", "victim"), in.start("--consumer", "survivor")
	work.share(victim, survivor)
	work.publishOn(512)
	victim.signal(syscall.SIGKILL)
	in.loseThePrimary(p)

	work.publish(len(work.left))
	in.settled("detectors")
	work.checkBlocked("after the failover")
	for _, check := range checks {
		work.checkDenied(check)
	}
	work.addOneEach()
	work.publish(len(work.left))
	in.settled("detectors")
	work.checkBlocked("after one more event each")
	if n := survivor.metric("wardstream_entries_lost_total") + survivor.metric("wardstream_dead_letters_total"); n != 0 {
		t.Errorf("%v entries lost or dead", n)
	}
	survivor.stop()
}

// loseThePrimary kills the primary once the replica has every event that was published, as a
// producer waits for that must not lose any, and goes on with the replica.
func (in *installation) loseThePrimary(p pair) {
	in.t.Helper()
	if n, err := p.primary.Client.Wait(in.t.Context(), 1, patience).Result(); err != nil || n != 1 {
		in.t.Fatalf("%d replicas have the events, %v", n, err)
	}
	p.primary.Kill()
	p.promoted()
	in.redis.Client = p.replica.Client
	testenv.Eventually(in.t, patience, func() error { return p.replica.Client.XLen(in.t.Context(), in.stream()).Err() })
}

// checkDenied compares the clients that an ingress-check denies with those that must be blocked.
func (w *workload) checkDenied(g *ingress) {
	w.t.Helper()
	blocked := w.blocked()
	for _, typ := range []string{failed, notFound} {
		for addr := range w.counts[typ] {
			if slices.Contains(blocked, addr) {
				g.denies(addr, "") // by and by: a mirror follows
			} else if status, _ := g.ask(addr, ""); status == http.StatusTooManyRequests {
				w.t.Errorf("%s is denied, with %d events of %s", addr, w.counts[typ][addr], typ)
			}
		}
	}
	for user := range w.counts[changed] {
		g.denies("192.0.2.1", user)
	}
}

// workloadConfig counts a workload's events by rules whose thresholds some addresses reach and
// others nearly do.
func workloadConfig() string {
	return fmt.Sprintf(`
rules:
- {name: brute_force_login, threshold: %d, window: 1h}
- {name: repeated_client_error, threshold: %d, window: 1h}
- {name: sensitive_field_change, fields: [email]}
stream: {batch_size: 64, claim_min_idle: 200ms, max_deliveries: 1000, retention: 0s}
blocks: {default_ttl: 12h}
`, failedThreshold, notFoundThreshold)
}
