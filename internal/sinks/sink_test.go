package sinks_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func origin() wire.Origin { return wire.Origin{Version: "1.2.3"} }

// alerts returns n events with ids of their own, which start with name.
func alerts(name string, n int) []wire.Enforcement {
	out := make([]wire.Enforcement, n)
	for i := range out {
		out[i] = wire.Enforcement{
			Type: wire.TypeAlert, Time: time.UnixMilli(1767225600000).UTC(), Rule: name, Severity: i + 1, Action: wire.ActionAlert,
			ID: wire.EnforcementID(name, string(rune('a'+i%26))+name, "", string(rune(i))), Scope: checker.Scope{Type: "ip", Value: "203.0.113.9"},
		}
	}
	return out
}

// writes counts the Writes it is given.
type writes struct {
	bytes.Buffer
	n   int
	err error
}

func (w *writes) Write(p []byte) (int, error) {
	if w.n++; w.err != nil {
		return 0, w.err
	}
	return w.Buffer.Write(p)
}

func TestJSONLWritesOneLineForEach(t *testing.T) {
	t.Parallel()
	var w writes
	want := alerts("jsonl", 3)
	if err := sinks.NewJSONL(&w, origin()).Emit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if w.n != 1 {
		t.Errorf("a batch took %d Writes", w.n)
	}
	scan := bufio.NewScanner(&w.Buffer)
	for i := 0; scan.Scan(); i++ {
		got, from, err := wire.DecodeEnforcement(scan.Bytes())
		if err != nil || got.ID != want[i].ID || got.Severity != i+1 || from.Version != "1.2.3" {
			t.Errorf("line %d is %s: %v", i, scan.Bytes(), err)
		}
		want[i].ID = ""
	}
	if want[2].ID != "" {
		t.Error("lines are missing")
	}
}

func TestJSONLWriteErrorIsReturned(t *testing.T) {
	t.Parallel()
	broken := errors.New("pipe closed")
	if err := sinks.NewJSONL(&writes{err: broken}, origin()).Emit(t.Context(), alerts("x", 1)); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var w writes
	if err := sinks.NewJSONL(&w, origin()).Emit(ended, alerts("x", 1)); !errors.Is(err, context.Canceled) || w.n != 0 {
		t.Errorf("after its context ended: error %v, %d Writes", err, w.n)
	}
}

func TestStreamAddsEntries(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	name := env.Prefix + ":enforcement"
	sink := sinks.NewStream(env.Client, sinks.StreamOptions{Name: name, MaxLen: 1000, Origin: origin()})
	want := append(alerts("stream", 2), wire.Enforcement{Type: wire.TypeBlocked, Time: time.Unix(1, 0)})
	if err := sink.Emit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	entries, err := env.Client.XRange(t.Context(), name, "-", "+").Result()
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d entries: %v", len(entries), err)
	}
	for i, entry := range entries {
		line, _ := entry.Values["event"].(string)
		got, _, err := wire.DecodeEnforcement([]byte(line))
		id, hasID := entry.Values["enforcement.id"]
		if err != nil || got.ID != want[i].ID || entry.Values["event_type"] != want[i].Type || hasID != (want[i].ID != "") || hasID && id != want[i].ID {
			t.Errorf("entry %d is %v: %v", i, entry.Values, err)
		}
		e, err := wire.NewDecoder(wire.DecoderOptions{}).Decode(name, entry.ID, fields(entry.Values))
		if err != nil || e.Type != want[i].Type || e.Text("security_rule.name") != want[i].Rule {
			t.Errorf("entry %d decodes to %+v: %v", i, e, err)
		}
	}
}

func fields(values map[string]any) []string {
	var out []string
	for name, v := range values {
		text, _ := v.(string)
		out = append(out, name, text)
	}
	return out
}

func TestStreamIsBounded(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	name := env.Prefix + ":enforcement"
	sink := sinks.NewStream(env.Client, sinks.StreamOptions{Name: name, MaxLen: 100, Origin: origin()})
	for range 10 {
		if err := sink.Emit(t.Context(), alerts("bound", 100)); err != nil {
			t.Fatal(err)
		}
	}
	// The bound is approximate: Redis drops whole nodes of 100 entries.
	if n, err := env.Client.XLen(t.Context(), name).Result(); err != nil || n < 100 || n > 300 {
		t.Errorf("%d entries are kept: %v", n, err)
	}
}

func TestStreamErrorsAreReturned(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	name := env.Prefix + ":enforcement"
	if err := env.Client.Set(t.Context(), name, "no stream", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	sink := sinks.NewStream(env.Client, sinks.StreamOptions{Name: name, MaxLen: 100, Origin: origin()})
	if err := sink.Emit(t.Context(), alerts("x", 2)); err == nil {
		t.Error("events were added to what is not a stream")
	}
}
