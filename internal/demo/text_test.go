package demo

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// terminal is a screen of so many columns.
func terminal(w *bytes.Buffer, columns int, color bool) *screen {
	return &screen{w: w, color: color, width: func() int { return columns }}
}

func minutes(t time.Time) string { return t.UTC().Format("04:05") }

func aReport(typ string) report {
	until, delay := time.Unix(400, 0), 1.4
	return report{
		Type: typ, Time: time.Unix(61, 0), Rule: "a_rule", Reason: "for a reason", ScopeType: "ip", ScopeValue: "203.0.113.9", Until: &until, TTL: 3600,
		DelayMS: &delay, Evidence: map[string]any{"some_count": 5, "fields": []any{"a", "b"}},
	}
}

func TestReportText(t *testing.T) {
	t.Parallel()
	byHand := aReport(typeBlocked)
	byHand.By, byHand.Permanent = "ann", true
	visitor := report{Type: typeRequest, Time: time.Unix(61, 0), Actor: "ana", Method: "GET", Path: "/x", Outcome: denied, Status: 429, count: 1}
	attacker := visitor
	attacker.Actor, attacker.hostile, attacker.count = "crawler", true, 30
	dry := aReport(typeAlert)
	dry.DryRun = true
	revoked := aReport(typeRevoked)
	revoked.By = "ann"
	other := aReport(typeOther)
	other.Event = "audit.enforcement.blocked"
	local := time.Unix(400, 0).Local().Format(time.TimeOnly)
	for _, tt := range []struct {
		r    report
		want string
	}{
		{aReport(typeFound), "01:01    FOUND    203.0.113.9   for a reason\n" + "                  a_rule: fields a+b, some count 5\n"},
		{aReport(typeBlocked), "01:01    BLOCKED  203.0.113.9   ip until " + local + " (1h), in 1 ms\n"},
		{byHand, "01:01    BLOCKED  203.0.113.9   ip for good by ann: for a reason\n"},
		{aReport(typeAlert), "01:01    ALERT    203.0.113.9   a_rule: for a reason\n"},
		{dry, "01:01    ALERT    203.0.113.9   a_rule: for a reason, a dry run\n"},
		{revoked, "01:01    LIFTED   203.0.113.9   ip by ann: for a reason\n"},
		{other, "01:01    EVENT    203.0.113.9   audit.enforcement.blocked\n"},
		{visitor, "01:01    DENIED   ana           429 at ingress, though it did nothing: GET /x\n"},
		{attacker, "01:01    DENIED   crawler       429 at ingress, 30 times by now\n"},
	} {
		var out bytes.Buffer
		p := &text{screen: &screen{w: &out}, clock: minutes}
		if err := p.report(tt.r); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v\n%swant\n%s", tt.r.Type, err, out.String(), tt.want)
		}
	}
}

// TestReportEscapesControlCharacters: events can hold anything.
func TestReportEscapesControlCharacters(t *testing.T) {
	t.Parallel()
	const evil = "a\x1b[2J\r\nb\u009b31m\u202e\x00\xff"
	for _, typ := range []string{typeRequest, typeFound, typeBlocked, typeAlert, typeRevoked, typeOther} {
		r := aReport(typ)
		r.ScopeValue, r.Rule, r.Reason, r.By, r.Event, r.Note, r.Path, r.Outcome = evil, evil, evil, evil, evil, evil, evil, denied
		r.ScopeType, r.Evidence = evil, map[string]any{evil: []any{evil, map[string]any{evil: evil}}}
		var out bytes.Buffer
		p := &text{screen: &screen{w: &out}, clock: minutes}
		if err := p.report(r); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{out.String(), jsonOf(t, r)} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == '\u009b' || r == '\u202e' || r == 0x7f }) {
				t.Errorf("%s: %q", typ, text)
			}
			if strings.Count(text, "\n") > 3 {
				t.Errorf("%s breaks lines: %q", typ, text)
			}
		}
	}
	if got := shown(strings.Repeat("x", 1000)); utf8.RuneCountInString(got) != longest {
		t.Errorf("%d characters shown", len(got))
	}
}

func jsonOf(t *testing.T, r report) string {
	t.Helper()
	var out bytes.Buffer
	if err := (lines{&out}).report(r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestColours(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &text{screen: terminal(&out, 80, true), clock: minutes}
	if err := p.report(aReport(typeBlocked)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\x1b[1;31mBLOCKED  \x1b[0m\x1b[1m203.0.113.9   \x1b[0m") {
		t.Errorf("printed %q", out.String())
	}
	out.Reset()
	p.screen = terminal(&out, 80, false)
	if err := p.report(aReport(typeBlocked)); err != nil || strings.Contains(out.String(), "\x1b[") {
		t.Errorf("without colours %q, %v", out.String(), err)
	}
}

// TestStatusLineIsReplacedInPlace: it is replaced in place, never wider than the terminal, and gone
// in the end.
func TestStatusLineIsReplacedInPlace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &text{screen: terminal(&out, 40, false), clock: minutes, total: time.Minute}
	for range 2 {
		if err := p.report(report{Type: typeRequest, Time: time.Unix(5, 0), Actor: "ana", Outcome: allowed}); err != nil {
			t.Fatal(err)
		}
	}
	const erase = "\r\x1b[K"
	parts := strings.Split(out.String(), erase)
	if len(parts) != 3 || !strings.HasPrefix(parts[2], "00:05   of 1m0s   visitors: 2 requests") || utf8.RuneCountInString(parts[2]) > 39 {
		t.Errorf("status %q", parts)
	}
	out.Reset()
	if err := p.report(aReport(typeRevoked)); err != nil || !strings.HasPrefix(out.String(), erase+"01:01") {
		t.Errorf("a line after the status: %q, %v", out.String(), err)
	}
	if err := p.screen.setStatus("x"); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	p.close()
	p.close()
	if out.String() != erase {
		t.Errorf("in the end %q", out.String())
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		columns, indent int
		text, want      string
	}{
		{40, 10, "short", "short"},
		{40, 10, "exactly thirty characters here", "exactly thirty characters here"},
		{40, 10, "this is a little more than thirty", "this is a little more than\n          thirty"},
		{40, 10, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n          b"},
		{25, 10, "too narrow to fold anything", "too narrow to fold anything"},
	} {
		if got := terminal(nil, tt.columns, false).fold(tt.text, tt.indent); got != tt.want {
			t.Errorf("%q in %d columns from %d: %q", tt.text, tt.columns, tt.indent, got)
		}
	}
	if text := strings.Repeat("word ", 100); (&screen{}).fold(text, 10) != text {
		t.Error("folded where there is no terminal")
	}
}

func TestScreenWritingToFile(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s := newScreen(f, os.Getenv); s.color || s.width != nil {
		t.Error("a file is taken for a terminal")
	}
}

func TestTableFitsATerminal(t *testing.T) {
	t.Parallel()
	after := 12.345
	s := summary{Requests: 1234, Allowed: 1111, Denied: 123, Attackers: 1, Visitors: 1, VisitorsHit: 1, VisitorsDenied: 2, Guests: 3, Interrupted: true, Seconds: 1.26}
	s.Actors = []actorSummary{
		{Name: "brute-forcer", Attacker: true, Address: "203.0.113.99", Requests: 1000, Allowed: 900, Denied: 100, Blocked: true, Hostile: 5, After: &after, Rules: []string{"sensitive_field_change"}},
		{Name: "scanner", Attacker: true, Address: "203.0.113.98", Hostile: 1},
		{Name: "chloe", Address: "2001:db8::ff"},
	}
	var out bytes.Buffer
	if err := (&text{screen: terminal(&out, 80, false)}).summary(s); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
	for _, want := range []string{
		"brute-forcer  203.0.113.99     1000     900    100 12.3s  sensitive_field_change\n", "scanner       203.0.113.98        0       0      0 never\n",
		"attackers blocked: 0 of 1\nvisitors denied: 2\nvisitors blocked: 1\nblocks of guests who joined in: 3\nstopped early, after 1.3s\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// cast is a visitor and an attacker.
func cast() (visitor, attacker *actor, l *ledger) {
	visitor = &actor{name: "ana", address: "192.0.2.1", user: "1", session: "s1"}
	attacker = &actor{name: "crawler", hostile: true, address: "203.0.113.1"}
	return visitor, attacker, newLedger([]*actor{visitor, attacker})
}

func applied(typ, value string, at time.Time) sighting {
	return sighting{Enforcement: wire.Enforcement{
		Type: wire.TypeBlockApplied, Rule: "r", Scope: checker.Scope{Type: typ, Value: value}, Time: at, Observed: at.Add(time.Millisecond),
	}}
}

// TestVerdict: any of these keeps a demo from being a success.
func TestVerdict(t *testing.T) {
	t.Parallel()
	at := time.Unix(100, 0)
	bad := func(l *ledger, a *actor) {
		l.visited(visit{actor: a, status: 200, step: step{hostile: true}, seen: at})
	}
	for name, tt := range map[string]struct {
		happens func(l *ledger, visitor, attacker *actor)
		ok      bool
		settled bool
	}{
		"caught": {func(l *ledger, _, a *actor) {
			bad(l, a)
			l.sighted(applied("ip", a.address, at.Add(time.Second)))
			l.visited(visit{actor: a, status: 429})
		}, true, true},
		"caught, not denied yet": {func(l *ledger, _, a *actor) { l.sighted(applied("ip", a.address, at)) }, true, false},
		"at large":               {func(l *ledger, _, a *actor) { bad(l, a) }, false, false},
		"visitor denied": {func(l *ledger, v, a *actor) {
			l.sighted(applied("ip", a.address, at))
			l.visited(visit{actor: a, status: 429})
			l.visited(visit{actor: v, status: 429})
		}, false, true},
		"visitor's user blocked": {func(l *ledger, v, a *actor) {
			l.sighted(applied("ip", a.address, at))
			l.sighted(applied("user", v.user, at))
		}, false, false},
		"visitor's session blocked": {func(l *ledger, v, a *actor) {
			l.sighted(applied("ip", a.address, at))
			l.sighted(applied("session", v.session, at))
		}, false, false},
		"a guest alone": {func(l *ledger, _, _ *actor) { l.sighted(applied("ip", guestAddress, at)) }, false, false},
	} {
		visitor, attacker, l := cast()
		tt.happens(l, visitor, attacker)
		if s := l.summary(time.Second, false); s.OK != tt.ok || l.settled() != tt.settled {
			t.Errorf("%s: ok %v, settled %v; %+v", name, s.OK, l.settled(), s)
		}
	}
}

func TestDetectionTime(t *testing.T) {
	t.Parallel()
	_, attacker, l := cast()
	at := time.Unix(100, 0)
	l.visited(visit{actor: attacker, status: 200, seen: at.Add(-time.Hour)})
	for i := range 3 {
		l.visited(visit{actor: attacker, status: 200, step: step{hostile: true}, seen: at.Add(time.Duration(i) * time.Second)})
	}
	l.sighted(applied("ip", attacker.address, at.Add(2*time.Second)))
	l.sighted(applied("ip", attacker.address, at.Add(time.Minute)))
	s := l.summary(time.Minute, false).Actors[1]
	if s.After == nil || *s.After != 2.001 || s.Hostile != 3 || len(s.Rules) != 1 {
		t.Errorf("%+v", s)
	}
}

// TestDetectionCountsMatchOnce: a match that blocks user and session is one find.
func TestDetectionCountsMatchOnce(t *testing.T) {
	t.Parallel()
	at := time.Unix(100, 0)
	_, _, l := cast()
	for _, tt := range []struct {
		s    sighting
		want int
	}{
		{applied("user", "7", at), 2},
		{applied("session", "s7", at), 1},
		{applied("session", "s8", at), 2}, // another session cannot be of the same match
		{applied("user", "8", at.Add(time.Millisecond)), 2},
	} {
		if got := l.sighted(tt.s); len(got) != tt.want {
			t.Errorf("%s: %d reports, want %d", tt.s.Scope, len(got), tt.want)
		}
	}
	s := applied("ip", "203.0.113.9", at)
	s.Rule, s.block.Reason, s.block.Metadata = manual, "because", map[string]any{"actor": "ann"}
	if got := l.sighted(s); len(got) != 1 || got[0].Type != typeBlocked || got[0].By != "ann" || got[0].Reason != "because" {
		t.Errorf("by hand: %+v", got)
	}
}
