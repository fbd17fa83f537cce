package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wardstream/wardstream/internal/testenv"
)

// held is a worker that has one entry in flight: its permanent block waits for a lock in Postgres.
type held struct {
	*worker

	in *installation
	pg *testenv.PostgresEnv
	tx pgx.Tx // has the lock
}

const holdRules = "rules:\n- {name: sensitive_field_change, fields: [email]}\nstream: {claim_min_idle: 100ms}\n"

func hold(t *testing.T) *held {
	t.Helper()
	redis, pg := testenv.Redis(t), testenv.Postgres(t)
	h := &held{in: install(t, redis, pg, holdRules), pg: pg}
	h.worker = h.in.start("--consumer", "first")
	h.reaches("wardstream_reconcile_total", 1, `outcome="rebuilt"`) // so that nothing else waits for the lock
	var err error
	if h.tx, err = pg.Pool.Begin(t.Context()); err == nil {
		_, err = h.tx.Exec(t.Context(), "LOCK TABLE permanent_blocks")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.tx.Rollback(context.Background()) }) // before the pool closes
	h.in.publish("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "42")
	testenv.Eventually(t, patience, func() error {
		var waiting int
		err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE relation = 'permanent_blocks'::regclass AND NOT granted").Scan(&waiting)
		if err == nil && (waiting == 0 || h.in.pendingOf("first") != 1) {
			err = errNotYet
		}
		return err
	})
	return h
}

// inTime tries something while an entry is in flight. The worker itself lets go of what Postgres
// doesn't take within seconds; where the machine was too slow for that, it is tried again.
func inTime(t *testing.T, try func(h *held) bool) {
	t.Helper()
	for range 5 {
		h := hold(t)
		if try(h) {
			return
		}
		if !strings.Contains(h.log.String(), "handling a batch failed") {
			t.Fatalf("not what was wanted, though there was time: %s", &h.log)
		}
	}
	t.Fatal("the worker never had the entry in flight long enough")
}

// stopping sends the first signal and waits until the worker heeds it. It reports whether the entry
// is in flight still.
func (h *held) stopping(sig syscall.Signal) bool {
	h.t.Helper()
	h.signal(sig)
	testenv.Eventually(h.t, patience, func() error {
		status, body, err := h.tryGet("/readyz")
		if err == nil && (status != 503 || !strings.Contains(body, "stopping")) {
			return fmt.Errorf("readyz: %d %q", status, body)
		}
		return nil // so it is, or it has ended already
	})
	status, _, err := h.tryGet("/healthz")
	if err == nil && status != 200 {
		h.t.Errorf("healthz while stopping: %d", status)
	}
	return err == nil && h.in.pendingOf("first") == 1
}

func (h *held) release() {
	h.t.Helper()
	if err := h.tx.Rollback(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *held) rows() (n int) {
	h.t.Helper()
	err := h.pg.Pool.QueryRow(h.t.Context(), "SELECT count(*) FROM permanent_blocks WHERE scope_value = '42' AND revoked_at IS NULL").Scan(&n)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// TestFirstSignalDrains: after the first signal the entry in flight is finished and acked.
func TestFirstSignalDrains(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, func(h *held) bool { return drains(t, h, sig) })
		})
	}
}

func drains(t *testing.T, h *held, sig syscall.Signal) bool {
	if !h.stopping(sig) {
		return false
	}
	select {
	case code := <-h.done:
		t.Fatalf("it left its entry in flight, exit %d", code)
	default:
	}
	h.release()
	if code := <-h.done; code != 0 {
		t.Fatalf("exit %d: %s", code, &h.log)
	}
	groups, err := h.in.redis.Client.XInfoGroups(t.Context(), h.in.stream()).Result()
	if err != nil || len(groups) != 1 {
		t.Fatalf("the group afterwards: %+v, %v", groups, err)
	}
	if groups[0].Pending != 0 {
		return false
	}
	if n := h.rows(); n != 1 || groups[0].Consumers != 0 {
		t.Errorf("%d rows, %d consumers left", n, groups[0].Consumers)
	}
	if out := h.out.String(); !strings.Contains(out, `"audit.enforcement.block_applied"`) {
		t.Errorf("stdout %q", out)
	}
	return true
}

// TestSIGHUPIsIgnored: SIGHUP is logged and ends nothing, however often it comes.
func TestSIGHUPIsIgnored(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules:\n- {name: brute_force_login}\n")
	w := in.start()
	for n := 1; n <= 2; n++ {
		w.signal(syscall.SIGHUP)
		testenv.Eventually(t, patience, func() error {
			if strings.Count(w.log.String(), "SIGHUP is ignored") != n {
				return errNotYet
			}
			return nil
		})
	}
	if status, _ := w.get("/healthz"); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
	w.stop()
}

// TestSecondSignalStopsAtOnce: the entry in flight stays pending, and the next worker finishes it.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	inTime(t, func(h *held) bool { return stopsAtOnce(t, h) })
}

func stopsAtOnce(t *testing.T, h *held) bool {
	if !h.stopping(syscall.SIGTERM) || h.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return false
	}
	code := <-h.done
	lines := h.log.all()
	if last := lines[len(lines)-1]; code != 1 || !strings.HasPrefix(last, "detector: stopped before everything was finished") {
		if code == 0 {
			return false
		}
		t.Errorf("exit %d: %s", code, &h.log)
	}
	if n := h.in.pendingOf("first"); n != 1 {
		t.Errorf("%d entries pending", n)
	}
	h.release()
	next := h.in.start("--consumer", "second")
	h.in.settled("detectors")
	if n := h.rows(); n != 1 {
		t.Errorf("%d rows", n)
	}
	next.stop()
	return true
}

// TestStdoutClosedWorkerContinues: the reader of the enforcement events goes away, and the worker
// continues.
func TestStdoutClosedWorkerContinues(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules:\n- {name: brute_force_login, threshold: 1}\n")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := in.launch()
	w.cmd.Stdout = writer
	w.follow(nil)
	_, _ = writer.Close(), reader.Close()
	for i := range 3 {
		addr := fmt.Sprintf("203.0.113.%d", i)
		in.publish("event_type", failed, "source.address", addr)
		testenv.Eventually(t, patience, func() error {
			if in.command("blocks", "ip", addr).code != 0 {
				return errNotYet
			}
			return nil
		})
	}
	in.settled("detectors")
	in.awaitEvents(3)
	w.signal(syscall.SIGTERM)
	if code := <-w.done; code != 1 || !strings.Contains(w.log.String(), "drain sink stdout") {
		t.Errorf("exit %d: %s", code, &w.log)
	}
}

// awaitEvents waits until the stream has the events of n blocks.
func (in *installation) awaitEvents(n int) {
	in.t.Helper()
	testenv.Eventually(in.t, patience, func() error {
		if got := len(in.enforcementEvents()); got != n {
			return fmt.Errorf("the stream has the events of %d blocks, not %d", got, n)
		}
		return nil
	})
}

// TestStdoutBlockedWorkerContinues: nobody reads the enforcement events until the pipe is full, and
// blocks are written all the same, at the end of which the worker reports the events that were not
// delivered.
func TestStdoutBlockedWorkerContinues(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules:\n- {name: brute_force_login, threshold: 1}\n")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	w := in.launch()
	w.cmd.Stdout = writer
	w.follow(nil)
	_ = writer.Close()
	const attackers = 300 // some 200 KB of events
	for i := range attackers {
		in.publish("event_type", failed, "source.address", fmt.Sprintf("10.0.%d.%d", i/250, i%250))
	}
	in.settled("detectors")
	var blocked []block
	in.command("blocks", "--output", "json").answers(t, 0).decode(t, &blocked)
	if len(blocked) != attackers {
		t.Errorf("%d are blocked", len(blocked))
	}
	in.awaitEvents(attackers)
	w.signal(syscall.SIGTERM)
	if code := <-w.done; code != 1 || !strings.Contains(w.log.String(), "drain sink stdout") {
		t.Errorf("exit %d: %s", code, &w.log)
	}
}
