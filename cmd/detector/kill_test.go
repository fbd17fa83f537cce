package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

// A workload is failed logins and client errors, and what is to come of them by count alone.
type workload struct {
	t      testing.TB
	in     *installation
	counts map[string]map[string]int // events published, by type and address
	left   []published               // to publish
	total  int                       // published
}

// A published is an event to publish, about an address or, if it is a change, a user.
type published struct{ typ, subject string }

const (
	failed   = "auth.login.failed"
	notFound = "http.response.client_error"
	changed  = "model.update"

	failedThreshold, notFoundThreshold = 5, 7
)

// newWorkload mixes addresses that stay just below a threshold and addresses that just reach it, so
// that one event lost, or one counted twice, changes who is blocked.
func newWorkload(t testing.TB, in *installation) *workload {
	w := &workload{t: t, in: in, counts: map[string]map[string]int{failed: {}, notFound: {}, changed: {}}}
	for i := range 400 {
		w.add(failed, fmt.Sprintf("10.1.%d.%d", i/250, i%250), failedThreshold-1)
		w.add(failed, fmt.Sprintf("10.2.%d.%d", i/250, i%250), failedThreshold)
		w.add(notFound, fmt.Sprintf("10.3.%d.%d", i/250, i%250), notFoundThreshold-1)
		w.add(notFound, fmt.Sprintf("10.4.%d.%d", i/250, i%250), notFoundThreshold)
		if i%4 == 0 {
			w.add(changed, fmt.Sprint("user", i), 1)
		}
	}
	w.shuffle()
	return w
}

func (w *workload) add(typ, subject string, times int) {
	for range times {
		w.left = append(w.left, published{typ, subject})
	}
}

// shuffle mixes events with those around them, so that one address's are spread over batches and
// workers, and several of them are in one batch all the same.
func (w *workload) shuffle() {
	random := rand.New(rand.NewPCG(1, 2))
	for part := range slices.Chunk(w.left, 200) {
		random.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
}

func (e published) fields() []any {
	if e.typ == changed {
		return []any{"event_type", e.typ, "user.id", e.subject, "changed_fields", `["email"]`}
	}
	return []any{"event_type", e.typ, "source.address", e.subject}
}

// publish publishes the next n events.
func (w *workload) publish(n int) {
	w.t.Helper()
	n = min(n, len(w.left))
	_, err := w.in.redis.Client.Pipelined(w.t.Context(), func(p redis.Pipeliner) error {
		for _, e := range w.left[:n] {
			w.counts[e.typ][e.subject]++
			p.XAdd(w.t.Context(), &redis.XAddArgs{Stream: w.in.stream(), Values: e.fields()})
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.left, w.total = w.left[n:], w.total+n
}

// publishOn is publish that never runs out of events, so that what follows is in the middle of the
// work.
func (w *workload) publishOn(n int) {
	w.t.Helper()
	if w.total > 50_000 {
		return // it has failed; there is no need to fill the memory as well
	}
	for i := 0; len(w.left) < 2000; i++ {
		w.add(failed, fmt.Sprintf("10.5.%d.%d", w.total%250, i), failedThreshold-1)
		w.add(changed, fmt.Sprintf("late%d.%d", w.total, i), 1)
	}
	w.publish(n)
}

// share publishes until both workers have done some of the work.
func (w *workload) share(a, b *worker) {
	w.t.Helper()
	testenv.Eventually(w.t, patience, func() error {
		w.publishOn(64)
		byA, byB := a.metric("wardstream_entries_acked_total"), b.metric("wardstream_entries_acked_total")
		if byA == 0 || byB == 0 {
			return fmt.Errorf("acked %v and %v of %d", byA, byB, w.total)
		}
		return nil
	})
}

// addOneEach adds one event more for each subject: a subject just below a threshold then reaches
// it.
func (w *workload) addOneEach() {
	for typ, counts := range w.counts {
		for subject := range counts {
			w.add(typ, subject, 1)
		}
	}
}

// blocked returns the addresses and users that must be blocked by what was published so far.
func (w *workload) blocked() []string {
	var out []string
	for typ, threshold := range map[string]int{failed: failedThreshold, notFound: notFoundThreshold, changed: 1} {
		for subject, n := range w.counts[typ] {
			if n >= threshold {
				out = append(out, subject)
			}
		}
	}
	slices.Sort(out)
	return out
}

// checkBlocked compares who is blocked with what was published.
func (w *workload) checkBlocked(when string) {
	w.t.Helper()
	var views []struct {
		ScopeType  string `json:"scope_type"`
		ScopeValue string `json:"scope_value"`
		Rule       string `json:"rule_name"`
	}
	r := w.in.command("blocks", "--limit", "0", "--output", "json").answers(w.t, 0)
	decodeLoosely(w.t, r.stdout, &views)
	got := make([]string, len(views))
	for i, v := range views {
		got[i] = v.ScopeValue
	}
	slices.Sort(got)
	if want := w.blocked(); !slices.Equal(got, want) {
		w.t.Errorf("%s: %d are blocked, want %d; wrongly blocked %v, wrongly not %v", when, len(got), len(want), without(got, want), without(want, got))
	}
}

// check compares who is blocked, and what the windows hold, with what was published.
func (w *workload) check(when string) {
	w.t.Helper()
	w.checkBlocked(when)
	for typ, rule := range map[string]string{failed: "brute_force_login", notFound: "repeated_client_error"} {
		sizes := w.in.windows(rule)
		for addr, want := range w.counts[typ] {
			if sizes[addr] != want {
				w.t.Errorf("%s: the window of %s for %s holds %d, want %d", when, rule, addr, sizes[addr], want)
			}
		}
		if len(sizes) != len(w.counts[typ]) {
			w.t.Errorf("%s: %d windows of %s, want %d", when, len(sizes), rule, len(w.counts[typ]))
		}
	}
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// windows reads the sizes of a rule's windows from what is in Redis, by no code of ours: a window
// is a log of records of 22 bytes, the last eight of which distinguish its members.
func (in *installation) windows(rule string) map[string]int {
	in.t.Helper()
	const record, member = 22, 14
	prefix := in.redis.Prefix + ":window:" + rule + ":"
	keys, err := in.redis.Client.Keys(in.t.Context(), prefix+"*").Result()
	if err != nil {
		in.t.Fatal(err)
	}
	sizes := make(map[string]int, len(keys))
	for _, key := range keys {
		log, err := in.redis.Client.Get(in.t.Context(), key).Result()
		if err != nil || len(log)%record != 0 {
			in.t.Fatalf("%s: %d bytes, %v", key, len(log), err)
		}
		members := map[string]bool{}
		for at := 0; at < len(log); at += record {
			members[log[at+member:at+record]] = true
		}
		_, addr, _ := strings.Cut(strings.TrimPrefix(key, prefix), ":") // behind the hash of the parameters
		sizes[addr] = len(members)
	}
	return sizes
}

// pendingOf returns how many entries are pending for a worker.
func (in *installation) pendingOf(name string) int64 {
	in.t.Helper()
	consumers, err := in.redis.Client.XInfoConsumers(in.t.Context(), in.stream(), "detectors").Result()
	if err != nil {
		in.t.Fatal(err)
	}
	var n int64
	for _, c := range consumers {
		if strings.HasPrefix(c.Name, name+"-") {
			n += c.Pending
		}
	}
	return n
}

// TestKilledDetectorEntriesCountOnce: two detectors share the work, one is killed with entries in
// hand whose effects are there in part, and every entry counts, and counts once.
func TestKilledDetectorEntriesCountOnce(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	in := install(t, testenv.Redis(t), pg, workloadConfig())
	work := newWorkload(t, in)
	victim := in.start("--consumer", "victim", "--postgres-url", pg.URL+"&application_name=victim")
	survivor := in.start("--consumer", "survivor")
	work.share(victim, survivor)
	in.killWithBatchInFlight(victim, pg, work)

	work.publish(len(work.left))
	in.settled("detectors")
	work.check("after the kill")
	if n := survivor.metric("wardstream_entries_claimed_total"); n < minInFlight {
		t.Errorf("the survivor claimed %v entries", n)
	}
	if n := survivor.metric("wardstream_entries_lost_total") + survivor.metric("wardstream_dead_letters_total"); n != 0 {
		t.Errorf("%v entries lost or dead", n)
	}
	in.everyEntryRead(work.total)
	in.publishedOnce(work.blocked())

	work.addOneEach()
	work.publish(len(work.left))
	in.settled("detectors")
	work.check("after one more event each")
	survivor.stop()
}

// minInFlight is how many entries the victim has in flight at least when it is killed.
const minInFlight = 32

// killWithBatchInFlight kills the victim while a permanent block of its batch waits for Postgres:
// the windows have the batch by then, temporary blocks are written, and nothing is published or
// acked.
func (in *installation) killWithBatchInFlight(victim *worker, pg *testenv.PostgresEnv, work *workload) {
	in.t.Helper()
	tx, err := pg.Pool.Begin(in.t.Context())
	if err == nil {
		_, err = tx.Exec(in.t.Context(), "LOCK TABLE permanent_blocks")
	}
	if err != nil {
		in.t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	testenv.Eventually(in.t, patience, func() error {
		work.publishOn(512)
		var waiting int
		err := pg.Pool.QueryRow(in.t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim' AND wait_event_type = 'Lock'").Scan(&waiting)
		if n := in.pendingOf("victim"); err == nil && (waiting == 0 || n < minInFlight) {
			err = fmt.Errorf("the victim has %d entries in flight, %d transactions wait", n, waiting)
		}
		return err
	})
	victim.signal(syscall.SIGKILL)
	if code := <-victim.done; code != -1 {
		in.t.Fatalf("the victim exited %d", code)
	}
}

// everyEntryRead checks that the group has been delivered every entry, and that all are still
// there.
func (in *installation) everyEntryRead(total int) {
	in.t.Helper()
	groups, err := in.redis.Client.XInfoGroups(in.t.Context(), in.stream()).Result()
	if err != nil || len(groups) != 1 {
		in.t.Fatalf("groups %+v, %v; want one", groups, err)
	}
	// Redis 6.2 doesn't count; there it must do that the last entry was delivered, and nothing is
	// pending.
	if info := in.redis.Client.InfoMap(in.t.Context(), "server").Val()["Server"]; !strings.HasPrefix(info["redis_version"], "6.") && groups[0].EntriesRead != int64(total) {
		in.t.Errorf("group %+v; want one that has read %d entries", groups[0], total)
	}
	if n := in.redis.Client.XLen(in.t.Context(), in.stream()).Val(); n != int64(total) {
		in.t.Errorf("the stream has %d entries, want %d", n, total)
	}
}

// publishedOnce checks that block_applied was published for every blocked scope and no other, and
// of each as one event, however often delivered.
func (in *installation) publishedOnce(blocked []string) {
	in.t.Helper()
	testenv.Eventually(in.t, patience, func() error { // a sink may be behind
		published := slices.Sorted(maps.Keys(in.appliedBlocks()))
		if !slices.Equal(published, blocked) {
			return fmt.Errorf("events without a block %v, blocks without an event %v", without(published, blocked), without(blocked, published))
		}
		return nil
	})
}

// appliedBlocks returns the IDs of the enforcement events, by whom they are about.
func (in *installation) appliedBlocks() map[string]string {
	in.t.Helper()
	ids := map[string]string{}
	for _, e := range in.enforcementEvents() {
		subject, id := e["scope.value"].(string), e["enforcement.id"].(string)
		if before, ok := ids[subject]; ok && before != id {
			in.t.Errorf("two events for the block of %s", subject)
		}
		ids[subject] = id
	}
	return ids
}
