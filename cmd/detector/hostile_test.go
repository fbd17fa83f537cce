package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// hostile are values that an attacker would choose to break a key, a log, a terminal, a header, a
// statement or a format.
func hostile() []string {
	return []string{
		"a\nb", "a\r\nSet-Cookie: x=y\r\n\r\n<script>", "nul\x00nul", "\x1b[2J\x1b]0;pwned\x07", "\u009b31m", "del\x7f", "\u202egnp.exe", "zero\u200bwidth",
		"*", "?", "[a-z]*", "a:b", "user:a:b", ":", "::1", "permanent", "complete", "blocks:permanent", "{tag}", "}{", "a}b", "sha256-" + strings.Repeat("0", 64),
		`"`, `","permanent":true,"x":"`, "'; DROP TABLE permanent_blocks; --", `\`, `\u0000`, "%s%n%00", "%25", "${jndi:x}", "$1", "\u2028", "ﾟ", strings.Repeat("long ", 500),
	}
}

// fit says whether a text can be shown: nothing in it but lines drives a terminal.
func fit(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
}

// TestHostileValuesAreEscapedEverywhere: whatever the names are that a producer reports, each is
// blocked, and no other client is; and nothing of them gets through to a terminal, a log, a metric
// or a statement as anything but text.
func TestHostileValuesAreEscapedEverywhere(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	in := install(t, testenv.Redis(t), pg, `
rules:
- {name: brute_force_login, threshold: 1}
- {name: sensitive_field_change, fields: [email]}
actions:
  brute_force_login: {action: temp_block, scopes: [username, session], ttl: 1h}
  sensitive_field_change: {action: persist_block, scopes: [user]}
`)
	want := map[checker.Scope]bool{}
	for i, value := range hostile() {
		ip := fmt.Sprintf("203.0.113.%d", i)
		in.publish("event_type", failed, "source.address", ip, "user.name", value, "session.id", value, "traceparent", value)
		in.publish("event_type", "model.update", "user.id", value, "changed_fields", `["email"]`, "model.label", value)
		in.publish("event_type", value, value, value, "user.name", value)
		in.publish("not", "an event", value, value)
		for _, typ := range []string{"username", "session", "user"} {
			if scope, ok := checker.NewScope(typ, value); ok {
				want[scope] = true
			}
		}
	}
	w := in.start()
	in.settled("detectors")
	testenv.Eventually(t, patience, func() error { // it is counted once it is done
		if n := w.metric("wardstream_dead_letters_total"); n < float64(len(hostile())) {
			return fmt.Errorf("%v dead letters", n)
		}
		return nil
	})
	_, metrics := w.get("/metrics")
	w.stop()

	in.blocksExactly(want)
	var rows int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM permanent_blocks WHERE revoked_at IS NULL").Scan(&rows); err != nil || rows == 0 {
		t.Errorf("%d rows, %v", rows, err)
	}
	outputs := map[string]string{"metrics": metrics, "log": w.log.String(), "events": w.out.String()}
	for _, args := range []string{"blocks", "blocks --output json", "dead-letters list", "dead-letters list --output json", "check", "check --output json"} {
		r := in.command(strings.Fields(args)...)
		outputs[args] = r.stdout + r.stderr
	}
	in.env = append(in.env, "WARDSTREAM_LOG_FORMAT=text")
	in.publish("not", "an event", "\x1b[2J\u009b", "x")
	text := in.startText()
	outputs["log as text"] = text
	for what, out := range outputs {
		if out == "" || !fit(out) {
			t.Errorf("%s: %.3000q", what, out)
		}
	}
	if strings.Contains(metrics, "pwned") || strings.Contains(metrics, "DROP TABLE") {
		t.Errorf("metrics hold what a client chose: %s", metrics)
	}
}

// startText runs a worker that logs as text until it has dealt with one more dead letter, and
// returns its log.
func (in *installation) startText() string {
	in.t.Helper()
	var log lineBuffer
	w := in.launch()
	stderr, err := w.cmd.StderrPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	deadLettered := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.read(stderr, func(line string) {
			if strings.Contains(line, "became a dead letter") {
				deadLettered <- struct{}{}
			}
		})
	}()
	select {
	case <-deadLettered:
	case <-done:
	}
	_ = w.cmd.Process.Kill()
	<-done
	_ = w.cmd.Wait()
	return log.String()
}

// blocksExactly checks that Redis holds the blocks of these scopes under their keys and no others,
// that each is denied, and that nobody of a similar name is.
func (in *installation) blocksExactly(want map[checker.Scope]bool) {
	in.t.Helper()
	ctx := context.Background()
	keys := rediskey.Keys{Prefix: in.redis.Prefix}
	unexpected := map[string]bool{}
	for _, key := range in.redis.Client.Keys(ctx, keys.Prefix+":block:*").Val() {
		unexpected[key] = true
	}
	client, err := redislookup.Connect(in.redis.URL)
	if err != nil {
		in.t.Fatal(err)
	}
	defer client.Close()
	lookup := redislookup.New(client, redislookup.WithKeyPrefix(keys.Prefix), redislookup.WithPermanentTier())
	for scope := range want {
		if !unexpected[keys.Block(scope)] {
			in.t.Errorf("%.80q isn't blocked, or shares its key", scope)
		}
		delete(unexpected, keys.Block(scope))
		near := []checker.Scope{{Type: scope.Type, Value: scope.Value + "x"}, {Type: scope.Type, Value: "x" + scope.Value}, {Type: "tenant", Value: scope.Value}}
		blocks, err := lookup.Lookup(ctx, append(near, scope))
		if err != nil || len(blocks) != 1 || blocks[0].Scope != scope {
			in.t.Errorf("%.80q: %.300v, %v", scope, blocks, err)
		}
	}
	for key := range unexpected {
		in.t.Errorf("nobody should be blocked by %.200q", key)
	}
}
