package main

import (
	"encoding/json"
	"fmt"
	"os/user"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A block is what the commands print of a block as JSON.
type block struct {
	ScopeType  string         `json:"scope_type"`
	ScopeValue string         `json:"scope_value"`
	Permanent  bool           `json:"permanent"`
	Remaining  int            `json:"remaining_seconds"`
	ExpiresAt  string         `json:"expires_at"`
	CreatedAt  string         `json:"created_at"`
	Rule       string         `json:"rule_name"`
	Reason     string         `json:"reason"`
	StatusCode int            `json:"status_code"`
	Message    string         `json:"message"`
	ID         string         `json:"id"`
	Metadata   map[string]any `json:"metadata"`
}

// within checks that a block ends ttl from now, give or take what a busy machine takes.
func (b block) within(t testing.TB, ttl time.Duration) {
	t.Helper()
	end, err := time.Parse(time.RFC3339, b.ExpiresAt)
	if left := time.Until(end); err != nil || left > ttl || left < ttl-patience || b.Permanent {
		t.Errorf("expires at %q, in %s, permanent %v; want %s", b.ExpiresAt, left, b.Permanent, ttl)
	}
}

const settings = "scopes: [{name: tenant, attributes: [tenant.id], block: true}, {name: region, attributes: [region]}]\nallowlist: [192.0.2.0/24, \"user:1\"]\n"

func TestBlockTemporary(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), testenv.Postgres(t), settings)
	var b block
	in.command("block", "ip", " ::ffff:203.0.113.9 ", "--ttl", "10m", "--reason", "scraping", "--by", "ann", "--status", "403", "--message", "go away", "--output", "json").
		answers(t, 0).decode(t, &b)
	b.within(t, 10*time.Minute)
	if b.ScopeType != "ip" || b.ScopeValue != attacker || b.Rule != "manual" || b.Reason != "scraping" || b.StatusCode != 403 ||
		b.Message != "go away" || b.Metadata["actor"] != "ann" || b.Remaining < 1 || b.ID == "" {
		t.Errorf("block %+v", b)
	}
	g := guard(t, "--redis-url", in.redis.URL, "--key-prefix", in.redis.Prefix)
	if status, body := g.ask(attacker, ""); status != 403 || body != "go away" {
		t.Errorf("ingress: %d %q", status, body)
	}
	events := in.enforcementEvents()
	if len(events) != 1 || events[0]["event_type"] != "audit.enforcement.block_applied" || events[0]["scope.value"] != attacker ||
		events[0]["enforcement.action"] != "temp" || events[0]["enforcement.ttl"] != 600.0 || events[0]["enforcement.id"] != b.ID {
		t.Errorf("events %v", events)
	}

	in.command("block", "ip", attacker, "--ttl", "5m").answers(t, 0).says(t, "ip 203.0.113.9 is blocked until ", "that block is stronger and stays: by rule manual")
	in.command("block", "ip", attacker, "--ttl", "7d").answers(t, 0).says(t, "ip 203.0.113.9 is blocked until ", "(7d)\n")
	if n := len(in.enforcementEvents()); n != 1 {
		t.Errorf("an extension was published: %d events", n)
	}
}

func TestBlockPermanent(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	in := install(t, testenv.Redis(t), pg, settings)
	for _, scope := range [][]string{{"user", "42"}, {"username", "eve"}, {"session", "s1"}, {"tenant", "acme"}} {
		in.command("block", scope[0], scope[1], "--reason", "fraud").answers(t, 0).says(t, scope[0]+" "+scope[1]+" is blocked permanently\n")
	}
	in.command("block", "ip", attacker).fails(t, "give a --ttl, or add --yes")
	in.command("block", "ip", attacker, "--yes").answers(t, 0)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	var rows int
	err = pg.Pool.QueryRow(t.Context(), `SELECT count(*) FROM permanent_blocks WHERE revoked_at IS NULL AND expires_at IS NULL
		AND rule_name = 'manual' AND metadata ->> 'actor' = $1`, me.Username).Scan(&rows)
	if err != nil || rows != 5 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if n := len(in.enforcementEvents()); n != 5 {
		t.Errorf("%d events", n)
	}
	in.command("block", "user", "42", "--ttl", "1h").answers(t, 0).says(t, "user 42 is blocked permanently; that block is stronger and stays")
}

func TestBlockAsksForConfirmation(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), testenv.Postgres(t), settings)
	for _, args := range []string{"block ip 192.0.2.7 --ttl 1m", "block user 1", "block user 1 --ttl 1m"} {
		in.command(strings.Fields(args)...).fails(t, "is on the allowlist, so rules never block it; add --yes")
		in.command(append(strings.Fields(args), "--yes")...).answers(t, 0)
	}
}

// TestBlockIPv6Prefix: what is blocked is what ingress asks for.
func TestBlockIPv6Prefix(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "ipv6_prefix: 64\n")
	in.command("block", "ip", "2001:db8:1:2::7", "--ttl", "1m").answers(t, 0).says(t, "ip 2001:db8:1:2::/64 is blocked until")
	in.command("block", "ip", "2001:db8:3::/64", "--ttl", "1m").answers(t, 0).says(t, "ip 2001:db8:3::/64 is blocked until")
	in.command("block", "ip", "2001:db8:4::/96", "--ttl", "1m").fails(t, "would block no client, as ingress asks for /64 (ipv6_prefix)")
	in.command("blocks", "ip", "[2001:db8:1:2::8]:443").answers(t, 0)
	in.command("unblock", "ip", "2001:db8:1:2::9").answers(t, 0)
	in.command("blocks", "ip", "2001:db8:1:2::7").answers(t, 1)
}

// TestBlockRange: a range is blocked and denied, shown for the addresses in it, and lifted as a
// whole.
func TestBlockRange(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	in := install(t, testenv.Redis(t), pg, settings)
	in.command("block", "ip", "203.0.113.77/24", "--ttl", "10m").answers(t, 0).says(t, "ip 203.0.113.0/24 is blocked until ")
	in.command("block", "ip", "2001:db8:7::/48", "--yes").answers(t, 0).says(t, "ip 2001:db8:7::/48 is blocked permanently\n")
	g := guard(t, "--redis-url", in.redis.URL, "--key-prefix", in.redis.Prefix)
	p := guard(t, "--postgres-url", pg.URL)
	g.denies(attacker, "")
	g.denies("2001:db8:7:1:2:3:4:5", "")
	p.denies("2001:db8:7:1:2:3:4:5", "")
	if status, _ := g.ask("203.0.114.9", ""); status/100 != 2 {
		t.Errorf("an address outside the range: %d", status)
	}
	in.command("blocks", "ip", attacker).answers(t, 0).says(t, "ip     203.0.113.0/24  ")

	in.command("block", "ip", attacker, "--ttl", "1h").answers(t, 0)
	r := in.command("unblock", "ip", attacker)
	if r.code != 0 || !strings.Contains(r.stderr, "203.0.113.9 is still blocked, by the block of 203.0.113.0/24; unblock that to let it in") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
	in.command("unblock", "ip", "203.0.113.0/24").answers(t, 0)
	if status, _ := g.ask(attacker, ""); status/100 != 2 {
		t.Errorf("after the unblock: %d", status)
	}

	r = in.command("block", "ip", "203.0.112.0/21", "--ttl", "1m")
	if r.code != 0 || !strings.Contains(r.stderr, "warning: ingress looks up ranges of /21 only where it is configured to") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
	in.command("block", "ip", "203.0.0.0/15", "--ttl", "1m").fails(t, "203.0.0.0/15 is a very wide range; add --yes")
	in.command("block", "ip", "192.0.2.128/25", "--ttl", "1m").fails(t, "is on the allowlist")
	in.command("block", "ip", "0.0.0.0/0", "--yes").fails(t, "is neither an address nor a range")
}

// TestBlockPermanentWithoutPostgresWarns warns that permanent isn't: the block lasts as long as a
// copy would.
func TestBlockPermanentWithoutPostgresWarns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": time.Hour, "blocks: {permanent_cache_ttl: 10m}\n": 10 * time.Minute} {
		in := install(t, testenv.Redis(t), nil, text)
		r := in.command("block", "user", "42")
		if r.code != 0 || !strings.HasPrefix(r.stderr, "detector: warning: postgres.url is not set: the block lasts "+map[time.Duration]string{time.Hour: "1h", 10 * time.Minute: "10m"}[want]+" at most") {
			t.Errorf("exit %d, stderr %q", r.code, r.stderr)
		}
		key := rediskey.Keys{Prefix: in.redis.Prefix}.Block(checker.Scope{Type: "user", Value: "42"})
		if ttl := in.redis.Client.PTTL(t.Context(), key).Val(); ttl > want || ttl < want-patience {
			t.Errorf("the block lasts %s, want %s", ttl, want)
		}
	}
}

// TestBlockPermanentDuringPostgresOutageTakesEffect: it takes effect at once, and the command says
// that it isn't durable.
func TestBlockPermanentDuringPostgresOutageTakesEffect(t *testing.T) {
	t.Parallel()
	pg := testenv.PrivatePostgres(t)
	in := install(t, testenv.Redis(t), &pg.PostgresEnv, "")
	pg.Stop()
	in.command("block", "user", "42").fails(t, "fix Postgres and run the command again")
	guard(t, "--redis-url", in.redis.URL, "--key-prefix", in.redis.Prefix).denies(visitor, "42")
	temporary := in.command("block", "ip", attacker, "--ttl", "5m")
	if temporary.code != 0 || !strings.Contains(temporary.stderr, "warning: the block is in force through Redis") || !strings.Contains(temporary.stdout, "is blocked until") {
		t.Errorf("exit %d, stdout %q, stderr %q", temporary.code, temporary.stdout, temporary.stderr)
	}
	listed := in.command("blocks")
	if listed.code != 0 || !strings.Contains(listed.stdout, attacker) || !strings.Contains(listed.stderr, "permanent blocks are unknown") {
		t.Errorf("exit %d, stdout %q, stderr %q", listed.code, listed.stdout, listed.stderr)
	}
	pg.Start()
	in.command("block", "user", "42").answers(t, 0)
	var rows int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM permanent_blocks WHERE revoked_at IS NULL").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestCommandsWithoutTableSuggestMigrate: a temporary block and the list work on Redis alone, and
// warn.
func TestCommandsWithoutTableSuggestMigrate(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "postgres: {url: '"+testenv.Postgres(t).URL+"'}\n")
	const suggestion = "table permanent_blocks does not exist; run detector migrate"
	for _, args := range []string{"block user 42", "unblock user 42", "blocks user 42"} {
		in.command(strings.Fields(args)...).fails(t, suggestion)
	}
	for _, args := range []string{"block ip 203.0.113.9 --ttl 1m", "blocks"} {
		r := in.command(strings.Fields(args)...)
		if r.code != 0 || strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "detector: warning: ") || !strings.Contains(r.stderr, suggestion) {
			t.Errorf("%s: exit %d, stderr %q", args, r.code, r.stderr)
		}
	}
}

// TestBlockUnpublishedEventIsAWarning: a stream that can't be written is a warning; the block is in
// force.
func TestBlockUnpublishedEventIsAWarning(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	if err := in.redis.Client.Set(t.Context(), in.enforcement(), "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"block ip 203.0.113.9 --ttl 1m", "unblock ip 203.0.113.9"} {
		r := in.command(strings.Fields(args)...)
		if r.code != 0 || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "warning: it is done, but its enforcement event was not emitted") {
			t.Errorf("%s: exit %d, stderr %q", args, r.code, r.stderr)
		}
	}
}

func TestUnblock(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	in := install(t, testenv.Redis(t), pg, settings)
	in.command("block", "user", "42").answers(t, 0)
	in.command("block", "ip", attacker, "--ttl", "10m").answers(t, 0)
	g := guard(t, "--redis-url", in.redis.URL, "--key-prefix", in.redis.Prefix, "--postgres-url", pg.URL)
	g.denies(attacker, "")

	in.command("unblock", "user", "42", "--reason", "paid up", "--by", "ann").answers(t, 0).says(t, "user 42 was blocked permanently by rule manual and is no longer\n")
	var lifted struct {
		Lifted []block `json:"lifted"`
	}
	in.command("unblock", "ip", attacker, "--output", "json").answers(t, 0).decode(t, &lifted)
	if len(lifted.Lifted) != 1 || lifted.Lifted[0].ScopeValue != attacker {
		t.Errorf("lifted %+v", lifted)
	}
	if status, _ := g.ask(attacker, "42"); status/100 != 2 {
		t.Errorf("ingress: %d", status)
	}
	var by, reason string
	if err := pg.Pool.QueryRow(t.Context(), "SELECT revoked_by, revoked_reason FROM permanent_blocks WHERE scope_value = '42'").Scan(&by, &reason); err != nil || by != "ann" || reason != "paid up" {
		t.Errorf("revoked by %q for %q, %v", by, reason, err)
	}
	events := in.enforcementEvents()
	if len(events) != 4 || events[2]["event_type"] != "audit.enforcement.block_revoked" || events[2]["enforcement.revoked_by"] != "ann" || events[2]["enforcement.reason"] != "paid up" {
		t.Errorf("events %v", events)
	}

	in.command("unblock", "user", "42").answers(t, 1).says(t, "user 42 was not blocked; events from before now won't block it either\n")
	in.command("unblock", "ip", attacker, "--output", "json").answers(t, 1).decode(t, &lifted)
	if len(lifted.Lifted) != 0 || len(in.enforcementEvents()) != 4 {
		t.Errorf("lifted %+v, %d events", lifted, len(in.enforcementEvents()))
	}
}

// TestUnblockOutranksEarlierEvents: what happened before doesn't block again, what happens later
// does.
func TestUnblockOutranksEarlierEvents(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules:\n- {name: brute_force_login, threshold: 3}\n")
	for range 3 {
		in.publish("event_type", failed, "source.address", attacker)
	}
	in.command("block", "ip", attacker, "--ttl", "1m").answers(t, 0)
	in.command("unblock", "ip", attacker).answers(t, 0)
	w := in.start()
	in.settled("detectors")
	in.command("blocks", "ip", attacker).answers(t, 1)
	for range 3 { // the scope starts from zero
		in.command("blocks", "ip", attacker).answers(t, 1)
		in.publish("event_type", failed, "source.address", attacker)
		in.settled("detectors")
	}
	in.command("blocks", "ip", attacker).answers(t, 0).says(t, "brute_force_login")
	w.stop()
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), testenv.Postgres(t), settings)
	var none []block
	in.command("blocks").answers(t, 0).says(t, "nobody is blocked\n")
	in.command("blocks", "--output", "json").answers(t, 0).decode(t, &none)
	if none == nil || len(none) != 0 {
		t.Errorf("no blocks as JSON: %v", none)
	}
	in.command("block", "user", "42", "--reason", "fraud").answers(t, 0)
	for i := range 3 {
		in.command("block", "ip", fmt.Sprintf("203.0.113.%d", i), "--ttl", "1h").answers(t, 0)
	}
	r := in.command("blocks").answers(t, 0)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "SCOPE  VALUE") || !strings.HasPrefix(lines[1], "user   42           permanent  manual  20") || !strings.HasSuffix(lines[1], "fraud") {
		t.Errorf("listing\n%s", r.stdout)
	}
	var all []block
	in.command("blocks", "--output", "json").answers(t, 0).decode(t, &all)
	if len(all) != 4 || all[0].ScopeValue != "42" || !all[0].Permanent || all[0].ExpiresAt != "" || all[1].ScopeValue != "203.0.113.0" {
		t.Errorf("blocks %+v", all)
	}
	in.command("blocks", "--scope", "ip", "--output", "json").answers(t, 0).decode(t, &all)
	if len(all) != 3 {
		t.Errorf("%d blocks of ip", len(all))
	}
	for _, args := range []string{"blocks --limit 2", "blocks --limit 2 --scope ip"} {
		r = in.command(strings.Fields(args)...)
		if r.code != 0 || strings.Count(r.stdout, "\n") != 3 || r.stderr != "detector: warning: there are more than 2; --limit 0 lists all\n" {
			t.Errorf("%s: exit %d, %q, %q", args, r.code, r.stdout, r.stderr)
		}
	}
	in.command("blocks", "--limit", "4").answers(t, 0)
}

func TestBlocksListsOneScope(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), testenv.Postgres(t), settings)
	in.command("block", "ip", attacker, "--ttl", "1h").answers(t, 0)
	in.command("blocks", "ip", attacker).answers(t, 0).says(t, attacker, "manual")
	var one []block
	in.command("blocks", "ip", attacker, "--output", "json").answers(t, 0).decode(t, &one)
	if len(one) != 1 || one[0].ScopeValue != attacker {
		t.Errorf("blocks %+v", one)
	}
	in.command("blocks", "ip", visitor).answers(t, 1).says(t, "ip 198.51.100.7 is not blocked\n")
	in.command("blocks", "ip", visitor, "--output", "json").answers(t, 1).decode(t, &one)
	if len(one) != 0 {
		t.Errorf("blocks %+v", one)
	}
}

// TestBlocksOfUnconfiguredScopeTypeCanBeLifted: a scope that was configured once can still be
// looked at and lifted.
func TestBlocksOfUnconfiguredScopeTypeCanBeLifted(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	put(t, in, checker.Block{Scope: checker.Scope{Type: "gone", Value: "x"}, Rule: "r", ExpiresAt: time.Now().Add(time.Hour)})
	in.command("blocks", "gone", "x").answers(t, 0)
	in.command("unblock", "gone", "x").answers(t, 0)
	in.command("unblock", "gone", "x").fails(t, `"gone" is not a scope that can be blocked`)
	in.command("blocks", "gone", "x").fails(t, `"gone" is not a scope that can be blocked`)
}

// put writes a block as other software may.
func put(t testing.TB, in *installation, b checker.Block) {
	t.Helper()
	b.CreatedAt = time.Now()
	raw, err := wire.EncodeBlock(b)
	if err == nil {
		err = in.redis.Client.Set(t.Context(), rediskey.Keys{Prefix: in.redis.Prefix}.Block(b.Scope), raw, time.Hour).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestBlocksListingEscapesControlCharacters: a user name cannot control the operator's terminal.
func TestBlocksListingEscapesControlCharacters(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	for i, hostile := range []string{"\x1b[2J\x1b]0;pwned\x07", "a\nip  1.2.3.4  permanent", "\u202egnp.exe", "\u009b31m", "\xff\xfe", "tab\there", strings.Repeat("long", 1000), "\u200b"} {
		value := fmt.Sprint(i, hostile)
		put(t, in, checker.Block{Scope: checker.Scope{Type: "username", Value: value}, Rule: hostile, Reason: hostile, Message: hostile, ExpiresAt: time.Now().Add(time.Hour)})
		in.publish("nonsense", hostile, hostile, "")
	}
	w := in.start()
	w.reaches("wardstream_dead_letters_total", 8)
	w.stop()
	const controls = "\x1b\x07\u202e\u009b\u200b\t\r"
	for _, args := range [][]string{{"blocks"}, {"dead-letters", "list"}} {
		text := in.command(args...).answers(t, 0).stdout
		if strings.ContainsAny(text, controls) || !utf8.ValidString(text) || strings.Count(text, "\n") != 9 {
			t.Errorf("%v prints %.4000q", args, text)
		}
		for line := range strings.Lines(text) {
			if len(line) > 1000 {
				t.Errorf("%v prints a line of %d bytes", args, len(line))
			}
		}
		encoded := in.command(append(args, "--output", "json")...).answers(t, 0).stdout
		var decoded []map[string]any
		if err := json.Unmarshal([]byte(encoded), &decoded); err != nil || len(decoded) != 8 || strings.ContainsAny(encoded, controls) || !utf8.ValidString(encoded) {
			t.Errorf("%v as JSON: %d of them, %v: %.4000q", args, len(decoded), err, encoded)
		}
	}
	name := "1a\nip  1.2.3.4  permanent"
	in.command("blocks", "username", name).fails(t, "must be text, without control characters")
}
