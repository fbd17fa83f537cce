package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wardstream/wardstream/internal/testenv"
)

// held is a worker that has one entry in hand: its permanent block waits for a lock in Postgres.
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

// stopping sends the first signal and waits until the worker heeds it.
func (h *held) stopping(sig syscall.Signal) {
	h.t.Helper()
	h.signal(sig)
	testenv.Eventually(h.t, patience, func() error {
		if status, body := h.get("/readyz"); status != 503 || !strings.Contains(body, "stopping") {
			return fmt.Errorf("readyz: %d %q", status, body)
		}
		return nil
	})
	if status, _ := h.get("/healthz"); status != 200 {
		h.t.Errorf("healthz while stopping: %d", status)
	}
	select {
	case code := <-h.done:
		h.t.Fatalf("it left its entry in hand, exit %d", code)
	default:
	}
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

// TestSignalDrains: after the first signal the entry in hand is finished and acked.
func TestSignalDrains(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := hold(t)
			h.stopping(sig)
			h.release()
			if code := <-h.done; code != 0 {
				t.Fatalf("exit %d: %s", code, &h.log)
			}
			if n := h.rows(); n != 1 {
				t.Errorf("%d rows", n)
			}
			groups, err := h.in.redis.Client.XInfoGroups(t.Context(), h.in.stream()).Result()
			if err != nil || len(groups) != 1 || groups[0].Pending != 0 || groups[0].Consumers != 0 {
				t.Errorf("the group afterwards: %+v, %v", groups, err)
			}
			if out := h.out.String(); !strings.Contains(out, `"audit.enforcement.block_applied"`) {
				t.Errorf("stdout %q", out)
			}
		})
	}
}

// TestSecondSignalStopsAtOnce: the entry in hand stays pending, and the next worker finishes it.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	h := hold(t)
	h.stopping(syscall.SIGTERM)
	h.signal(syscall.SIGTERM)
	if code := <-h.done; code != 1 {
		t.Errorf("exit %d: %s", code, &h.log)
	}
	lines := h.log.all()
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "detector: stopped before everything was finished") {
		t.Errorf("the last line is %q", last)
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
}

// TestStdoutGone: whoever reads the enforcement events goes away, and the worker works on.
func TestStdoutGone(t *testing.T) {
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
	if n := len(in.told()); n != 3 {
		t.Errorf("the stream was told of %d blocks", n)
	}
	w.signal(syscall.SIGTERM)
	if code := <-w.done; code != 1 || !strings.Contains(w.log.String(), "drain sink stdout") {
		t.Errorf("exit %d: %s", code, &w.log)
	}
}
