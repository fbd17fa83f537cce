package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

// brief is the pace of tests: a second is as short as a demo gets.
const brief = time.Second

func output(w io.Writer) Output {
	return Output{Stdout: w, Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler), Version: "test"}
}

// played is what a demo wrote as JSON.
type played struct {
	head    head
	reports []report
	summary summary
}

// playJSON runs a demo and reads its lines.
func playJSON(t *testing.T, seed uint64) played {
	t.Helper()
	var out bytes.Buffer
	o := Options{Duration: brief, Seed: seed, Output: output(&out)}
	o.Output.JSON = true
	ok, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t, out.Bytes())
	if ok != p.summary.OK {
		t.Errorf("Run says %v, the summary %v", ok, p.summary.OK)
	}
	return p
}

func parse(t *testing.T, raw []byte) played {
	t.Helper()
	lines := bytes.Split(bytes.TrimRight(raw, "\n"), []byte("\n"))
	var p played
	decode(t, lines[0], &p.head)
	for _, line := range lines[1 : len(lines)-1] {
		var r report
		decode(t, line, &r)
		p.reports = append(p.reports, r)
	}
	decode(t, lines[len(lines)-1], &p.summary)
	return p
}

func decode(t *testing.T, line []byte, v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
}

func TestAttackersAreBlockedAndVisitorsAreNot(t *testing.T) {
	t.Parallel()
	p := playJSON(t, 1)
	want := map[string]string{
		"brute-forcer": "brute_force_login", "scanner": "repeated_client_error",
		"crawler": "resource_enumeration", "insider": "sensitive_field_change",
	}
	s := p.summary
	if !s.OK || s.Interrupted || s.Attackers != len(want) || s.Caught != len(want) || s.VisitorsDenied+s.VisitorsHit+s.Guests != 0 || s.Visitors != 5 {
		t.Errorf("summary %+v", s)
	}
	for _, a := range s.Actors {
		switch {
		case !a.Attacker:
			if a.Blocked || a.Denied != 0 || a.Allowed != a.Requests || a.Requests == 0 || a.After != nil || a.Hostile != 0 {
				t.Errorf("visitor %+v", a)
			}
		case !a.Blocked || a.Denied == 0 || !slices.Equal(a.Rules, []string{want[a.Name]}):
			t.Errorf("attacker %+v, want it found by %s and denied", a, want[a.Name])
		case a.After == nil || *a.After < 0 || *a.After > s.Seconds:
			t.Errorf("attacker %s found after %v", a.Name, a.After)
		}
	}
	if p.head.Type != typeStart || *p.head.Seed != 1 || p.head.Seconds != 1 || len(p.head.Rules) != 8 {
		t.Errorf("head %+v", p.head)
	}
}

func TestSummaryAddsUp(t *testing.T) {
	t.Parallel()
	p := playJSON(t, 3)
	requests, refused, rules, firstBlock, lastAllowed := map[string]int{}, map[string]int{}, map[string][]string{}, map[string]int{}, map[string]int{}
	for i, r := range p.reports {
		if r.Time.IsZero() || r.Actor == "" {
			t.Errorf("report %+v lacks time or actor", r)
		}
		switch r.Type {
		case typeRequest:
			requests[r.Actor]++
			if r.Outcome == denied {
				refused[r.Actor]++
			} else {
				lastAllowed[r.Actor] = i
			}
			if (r.Status == 200) != (r.Outcome == allowed) {
				t.Errorf("request %+v", r)
			}
		case typeFound:
			rules[r.Actor] = append(rules[r.Actor], r.Rule)
			if r.Reason == "" || len(r.Evidence) == 0 {
				t.Errorf("found without reason or evidence: %+v", r)
			}
		case typeBlocked:
			if !slices.Contains(rules[r.Actor], r.Rule) {
				t.Errorf("blocked, and not found: %+v", r)
			}
			if r.Permanent == (r.Until != nil) || r.DelayMS == nil || *r.DelayMS < 0 || r.ScopeValue == "" {
				t.Errorf("blocked %+v", r)
			}
			if firstBlock[r.Actor] == 0 {
				firstBlock[r.Actor] = i
			}
		default:
			t.Errorf("report of type %q", r.Type)
		}
	}
	for actor := range refused { // a block is in force before its event is read, so the order is open
		if firstBlock[actor] == 0 {
			t.Errorf("%s is denied and its block was never published", actor)
		}
	}
	total := summary{}
	for _, a := range p.summary.Actors {
		total.Requests += a.Requests
		total.Denied += a.Denied
		if a.Requests != requests[a.Name] || a.Denied != refused[a.Name] || a.Allowed != a.Requests-a.Denied || !slices.Equal(a.Rules, rules[a.Name]) {
			t.Errorf("%+v, but the lines have %d requests, %d denied, rules %v", a, requests[a.Name], refused[a.Name], rules[a.Name])
		}
	}
	if p.summary.Requests != total.Requests || p.summary.Denied != total.Denied || p.summary.Allowed != total.Requests-total.Denied {
		t.Errorf("summary %+v, added up %+v", p.summary, total)
	}
}

// TestSameSeedSameDecisions: only times may differ.
func TestSameSeedSameDecisions(t *testing.T) {
	t.Parallel()
	type decision struct{ actor, rule, scopeType, scopeValue string }
	decided := func(p played) (map[decision]bool, map[string][]string) {
		all, paths := map[decision]bool{}, map[string][]string{}
		for _, r := range p.reports {
			switch r.Type {
			case typeRequest:
				paths[r.Actor] = append(paths[r.Actor], r.Method+" "+r.Path)
			default:
				all[decision{r.Actor, r.Rule, r.ScopeType, r.ScopeValue}] = true
			}
		}
		return all, paths
	}
	one, onePaths := decided(playJSON(t, 7))
	other, otherPaths := decided(playJSON(t, 7))
	if !maps.Equal(one, other) {
		t.Errorf("decided %v, and %v the second time", one, other)
	}
	for name, paths := range onePaths {
		n := min(len(paths), len(otherPaths[name]))
		if n == 0 || !slices.Equal(paths[:n], otherPaths[name][:n]) {
			t.Errorf("%s asks for other things the second time", name)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if ok, err := Run(t.Context(), Options{Duration: brief, Seed: 1, Output: output(&out)}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	text := out.String()
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' }); i >= 0 {
		t.Errorf("control character in text that is for no terminal: %q", text[max(0, i-20):i+20])
	}
	for _, pattern := range []string{
		`^Wardstream demo: 5 visitors and 4 attackers in a small shop, 1s, seed 1\n`,
		`\n  Redis +redis://127\.0\.0\.1:\d+/0 +stream audit:events\n`,
		`\n  for i in \$\(seq 5\); do redis-cli -p \d+ XADD audit:events '\*' event_type auth\.login\.failed source\.address \S+ user\.name eve; done\n`,
		`\n  curl -i -H 'X-Forwarded-For: \S+' http://127\.0\.0\.1:\d+/\n`,
		`\n  \d\.\ds +FOUND    brute-forcer  Repeated login failures detected\n +brute_force_login: failure count \d, username \w+\n`,
		`\n  \d\.\ds +BLOCKED  scanner       ip 203\.0\.113\.\d\d until \d\d:\d\d:\d\d \(5m\), in `,
		`\n  \d\.\ds +BLOCKED  insider       user \d+ for good, in `,
		`\n  \d\.\ds +DENIED   crawler       429 at ingress: GET /customers/\d+\n`,
		`\n +from +requests allowed denied after  by\n`,
		`\nbrute-forcer  203\.0\.113\.\d\d +\d+ +\d+ +\d+ +[0-9.]+m?s  brute_force_login\n`,
		`\ninsider       user \d+ +\d+ +\d+ +\d+ +[0-9.]+m?s  sensitive_field_change\n`,
		`\nall +\d+ +\d+ +\d+\n`,
		`\nattackers blocked: 4 of 4\nvisitors denied: 0\n$`,
	} {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("nothing matches %s in\n%s", pattern, text)
		}
	}
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 100 && !strings.Contains(line, "redis-cli") || strings.HasSuffix(line, " \n") {
			t.Errorf("line is long or has blanks at its end: %q", line)
		}
	}
}

func TestQuietPrintsSummaryOnly(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := Options{Duration: brief, Seed: 5, Output: output(&out)}
	o.Output.JSON, o.Output.Quiet = true, true
	if ok, err := Run(t.Context(), o); err != nil || !ok {
		t.Fatal(ok, err)
	}
	var s summary
	decode(t, out.Bytes(), &s)
	if s.Type != typeSummary || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("printed %s", out.String())
	}
}

// TestInterruptPrintsSummary: an interrupt prints the summary, which says that the demo was stopped
// early.
func TestInterruptPrintsSummary(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	out := &trigger{at: []byte(`"type":"request"`), do: stop}
	o := Options{Duration: time.Hour, Seed: 1, Output: output(out)}
	o.Output.JSON = true
	ok, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t, out.Bytes())
	if ok || p.summary.OK || !p.summary.Interrupted || p.summary.Caught == p.summary.Attackers || p.summary.Requests == 0 {
		t.Errorf("%v, %+v", ok, p.summary)
	}
}

// trigger does something once it has been written at, or fails to write from then on.
type trigger struct {
	bytes.Buffer

	at  []byte
	do  func()
	err error
}

func (w *trigger) Write(p []byte) (int, error) {
	if bytes.Contains(p, w.at) {
		if w.err != nil {
			return 0, w.err
		}
		w.do()
	}
	return w.Buffer.Write(p)
}

var errGone = errors.New("the reader is gone")

func TestWriteErrorEndsDemo(t *testing.T) {
	t.Parallel()
	for _, at := range []string{typeStart, typeRequest, typeSummary} {
		o := Options{Duration: brief, Seed: 1, Output: output(&trigger{at: []byte(`"type":"` + at), err: errGone})}
		o.Output.JSON = true
		if ok, err := Run(t.Context(), o); ok || !errors.Is(err, errGone) {
			t.Errorf("%s: %v, %v", at, ok, err)
		}
	}
}

func TestTooShortDurationIsRefused(t *testing.T) {
	t.Parallel()
	ok, err := Run(t.Context(), Options{Duration: time.Millisecond, Output: output(io.Discard)})
	if ok || err == nil || err.Error() != "--duration 1ms: must be at least 1s" {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestDemoLeavesNoGoroutine is not parallel: it looks at all goroutines.
func TestDemoLeavesNoGoroutine(t *testing.T) {
	o := Options{Duration: brief, Seed: 2, Output: output(io.Discard)}
	before := goleak.IgnoreCurrent()
	if ok, err := Run(t.Context(), o); err != nil || !ok {
		t.Fatal(ok, err)
	}
	goleak.VerifyNone(t, before)
}
