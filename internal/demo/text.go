package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A text prints reports for people to read.
type text struct {
	screen *screen
	clock  func(time.Time) string // the first column
	total  time.Duration          // how long it will take; 0 means until the user stops it

	visits, hostile, turned int // requests of visitors; of attackers; of these, denied
}

// The columns of a report.
const (
	clockWidth = 9
	labelWidth = 9
	actorWidth = 14
)

func (t *text) close() { t.screen.clear() }

func (t *text) report(r report) error {
	switch r.Type {
	case typeRequest:
		if err := t.request(r); err != nil || t.total == 0 {
			return err
		}
		return t.screen.setStatus(fmt.Sprintf("%s of %s   visitors: %d requests   attackers: %d requests, %d denied",
			pad(t.clock(r.Time), clockWidth-2), t.total, t.visits, t.hostile, t.turned))
	case typeFound:
		return t.found(r)
	case typeBlocked:
		return t.row(r, red, "BLOCKED", t.blocked(r))
	case typeAlert:
		note := ""
		if r.DryRun {
			note = ", a dry run"
		}
		return t.row(r, yellow, "ALERT", fmt.Sprintf("%s: %s%s", r.Rule, r.Reason, note))
	case typeRevoked:
		return t.row(r, green, "LIFTED", by(r))
	}
	return t.row(r, faint, "EVENT", r.Event)
}

// request prints what is worth it: a note, the first denial, and round numbers of them.
func (t *text) request(r report) error {
	t.count(r)
	if r.Note != "" {
		how := plain
		if !r.hostile {
			how = faint
		}
		if err := t.row(r, how, "", r.Note); err != nil {
			return err
		}
	}
	switch {
	case r.Outcome != denied:
	case !r.hostile:
		return t.row(r, red, "DENIED", fmt.Sprintf("%d at ingress, though it did nothing: %s %s", r.Status, r.Method, r.Path))
	case r.count == 1, r.Note != "":
		return t.row(r, purple, "DENIED", fmt.Sprintf("%d at ingress: %s %s", r.Status, r.Method, r.Path))
	case r.count < 100 && r.count%10 == 0, r.count%100 == 0:
		return t.row(r, purple, "DENIED", fmt.Sprintf("%d at ingress, %d times by now", r.Status, r.count))
	}
	return nil
}

func (t *text) count(r report) {
	if !r.hostile {
		t.visits++
		return
	}
	t.hostile++
	if r.Outcome == denied {
		t.turned++
	}
}

func (t *text) found(r report) error {
	if err := t.row(r, yellow, "FOUND", r.Reason); err != nil {
		return err
	}
	proof := t.screen.fold(shown(r.Rule+": "+evidence(r.Evidence)), clockWidth+labelWidth)
	return t.screen.line(strings.Repeat(" ", clockWidth+labelWidth) + t.screen.paint(faint, proof))
}

// evidence shows a match's metadata.
func evidence(metadata map[string]any) string {
	parts := make([]string, 0, len(metadata))
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		parts = append(parts, strings.ReplaceAll(name, "_", " ")+" "+value(metadata[name]))
	}
	return strings.Join(parts, ", ")
}

func value(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = fmt.Sprint(item)
	}
	return strings.Join(texts, "+")
}

func (t *text) blocked(r report) string {
	what := r.ScopeType + " " + r.ScopeValue
	if r.Actor == "" {
		what = r.ScopeType // the value stands in the column before
	}
	until := "for good"
	if !r.Permanent && r.Until != nil {
		until = fmt.Sprintf("until %s (%s)", r.Until.Local().Format(time.TimeOnly), short(time.Duration(r.TTL)*time.Second))
	}
	took := ""
	if r.DelayMS != nil {
		took = ", in " + millis(*r.DelayMS)
	}
	if r.By != "" {
		return strings.TrimSuffix(what+" "+until+" by "+r.By+": "+r.Reason, ": ")
	}
	return what + " " + until + took
}

func by(r report) string {
	out := r.ScopeType
	if r.By != "" {
		out += " by " + r.By
	}
	if r.Reason != "" {
		out += ": " + r.Reason
	}
	return out
}

// row prints a report in columns.
func (t *text) row(r report, how style, label, rest string) error {
	who := r.Actor
	if who == "" {
		who = r.ScopeValue
	}
	if who == "" {
		who = r.Address
	}
	who = pad(shown(who), actorWidth)
	rest = t.screen.fold(shown(rest), clockWidth+labelWidth+utf8.RuneCountInString(who))
	name, said := bold, plain
	if label == "" {
		name, said = how, how
	}
	return t.screen.line(t.screen.paint(faint, pad(t.clock(r.Time), clockWidth)) + t.screen.paint(how, pad(label, labelWidth)) +
		t.screen.paint(name, who) + t.screen.paint(said, rest))
}

func millis(ms float64) string {
	if ms < 1 {
		return "under 1 ms"
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// short writes a duration without the zeros at its end.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
