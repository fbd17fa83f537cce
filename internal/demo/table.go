package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A head is what is said before anything happens.
type head struct {
	Type     string   `json:"type"`
	Title    string   `json:"-"`
	Redis    string   `json:"redis"`
	Stream   string   `json:"stream"`
	Ingress  string   `json:"ingress"`
	Metrics  string   `json:"metrics,omitempty"`
	Rules    []string `json:"rules"`
	Seed     *uint64  `json:"seed,omitempty"`
	Seconds  float64  `json:"duration_seconds,omitempty"`
	Publish  string   `json:"publish"` // shell lines to paste
	Ask      string   `json:"ask"`
	Notes    []string `json:"notes,omitempty"`
	Invite   string   `json:"-"` // what the lines are for
	ShowRule bool     `json:"-"`
}

func (w *world) head() head {
	h := head{
		Type: typeStart, Redis: w.redis.URL(), Stream: w.cfg.Stream.Names[0], Ingress: w.door(), Metrics: w.metricsURL(),
		Publish: w.publishLine(), Ask: w.askLine(),
	}
	for i := range w.cfg.Rules {
		h.Rules = append(h.Rules, w.cfg.Rules[i].Name)
	}
	return h
}

func (t *text) start(h head) error {
	p := t.screen.paint
	lines := []string{p(bold, h.Title), ""}
	add := func(name, value, about string) {
		if value != "" {
			lines = append(lines, strings.TrimRight("  "+p(faint, pad(name, 15))+pad(shown(value), 32)+p(faint, about), " "))
		}
	}
	add("Redis", h.Redis, "stream "+shown(h.Stream))
	add("ingress-check", h.Ingress, "trusts local X-Forwarded-For")
	add("metrics", h.Metrics, "")
	if h.ShowRule {
		for i, some := range slices.Collect(slices.Chunk(h.Rules, 3)) {
			add([]string{"rules", " "}[min(i, 1)], strings.Join(some, ", "), "")
		}
	}
	for _, note := range h.Notes {
		lines = append(lines, "  "+p(yellow, pad("note", 15))+shown(note))
	}
	lines = append(lines, "", h.Invite, "", "  "+h.Publish, "  "+h.Ask, "")
	return t.screen.line(strings.Join(lines, "\n"))
}

// summary prints the table of actors, and what is to be said about it.
func (t *text) summary(s summary) error {
	rows := [][]string{{"", "from", "requests", "allowed", "denied", "after", "by"}}
	for _, a := range s.Actors {
		rows = append(rows, []string{
			a.Name, from(a), strconv.Itoa(a.Requests), strconv.Itoa(a.Allowed), strconv.Itoa(a.Denied), after(a), strings.Join(a.Rules, ", "),
		})
	}
	rows = append(rows, []string{"all", "", strconv.Itoa(s.Requests), strconv.Itoa(s.Allowed), strconv.Itoa(s.Denied), "", ""})
	table := align(rows, 2, 3, 4, 5)
	for i, a := range s.Actors {
		if !a.Attacker {
			table[i+1] = t.screen.paint(faint, table[i+1])
		}
	}
	table[0] = t.screen.paint(bold, table[0])
	legend := t.screen.paint(faint, "after: from the first hostile event to the block")
	table = append(append(table, legend, ""), unused(s)...)
	return t.screen.line("\n" + strings.Join(append(table, t.verdict(s)), "\n"))
}

// shownUncounted is how many kinds of events that no rule could use are shown.
const shownUncounted = 3

// unused says which events no rule could use, the most frequent first.
func unused(s summary) []string {
	var lines []string
	for _, u := range s.Uncounted[:min(len(s.Uncounted), shownUncounted)] {
		by := "no rule asks for them"
		if u.Rule != "" {
			by = fmt.Sprintf("%s can't use them (%s)", u.Rule, u.Reason)
		}
		lines = append(lines, fmt.Sprintf("not counted: %d × %s, %s", u.Count, u.EventType, by))
	}
	return lines
}

// from is what an actor is blocked by: an account, or an address.
func from(a actorSummary) string {
	if a.Attacker && a.User != "" {
		return "user " + a.User
	}
	return a.Address
}

func after(a actorSummary) string {
	switch {
	case a.Hostile > 0 && !a.Blocked:
		return "never"
	case a.After == nil:
		return ""
	case *a.After < 1:
		return fmt.Sprintf("%.0fms", *a.After*1000)
	case *a.After < 10:
		return fmt.Sprintf("%.2fs", *a.After)
	}
	return fmt.Sprintf("%.1fs", *a.After)
}

// verdict says how it went.
func (t *text) verdict(s summary) string {
	p := t.screen.paint
	good := func(ok bool) style {
		if ok {
			return green
		}
		return red
	}
	lines := []string{
		p(good(s.Caught == s.Attackers), fmt.Sprintf("attackers blocked: %d of %d", s.Caught, s.Attackers)),
		p(good(s.VisitorsHit+s.VisitorsDenied == 0), fmt.Sprintf("visitors denied: %d", s.VisitorsDenied)),
	}
	if s.VisitorsHit > 0 {
		lines = append(lines, p(red, fmt.Sprintf("visitors blocked: %d", s.VisitorsHit)))
	}
	if s.Guests > 0 {
		lines = append(lines, fmt.Sprintf("blocks of guests who joined in: %d", s.Guests))
	}
	if s.Interrupted {
		lines = append(lines, fmt.Sprintf("stopped early, after %s", time.Duration(s.Seconds*float64(time.Second)).Round(100*time.Millisecond)))
	}
	return strings.Join(lines, "\n")
}

// align makes lines of rows, in columns; those numbered right are flush right.
func align(rows [][]string, right ...int) []string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			fill := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case i == 0:
				b.WriteString(cell + fill)
			case slices.Contains(right, i):
				b.WriteString(" " + fill + cell)
			default:
				b.WriteString("  " + cell + fill)
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}
