package cases

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
)

// compare holds what there is against what the case wants.
func (r *run) compare() {
	r.compareBlocks()
	r.compareDeadLetters()
	r.compareAlerts()
	r.compareEvent()
	if len(r.Want.Metrics) > 0 {
		have := r.metrics()
		for series, want := range r.Want.Metrics {
			if have[series] != want {
				r.report("%s is %v, want %v", series, have[series], want)
			}
		}
	}
	for _, want := range r.Want.Logs {
		if text := r.log.String(); !strings.Contains(text, want) {
			r.report("no line of the log has %q:\n%s", want, text)
		}
	}
}

// compareBlocks asks for every scope as an application does, and looks for blocks that the case
// does not expect.
func (r *run) compareBlocks() {
	keys := rediskey.Keys{Prefix: r.redis.Prefix}
	var stored, wanted []string
	scan := r.redis.Client.Scan(r.t.Context(), 0, keys.BlockPattern(), 1000).Iterator()
	for scan.Next(r.t.Context()) {
		stored = append(stored, strings.TrimPrefix(scan.Val(), r.redis.Prefix+":block:"))
	}
	if err := scan.Err(); err != nil {
		r.t.Fatal(err)
	}
	for _, text := range r.Want.Blocked {
		scope := r.scope(text)
		wanted = append(wanted, rediskey.MemberField(scope))
		if !r.blocked(scope) {
			r.report("%s is not blocked", text)
		}
	}
	for _, field := range stored {
		if !slices.Contains(wanted, field) {
			r.report("%s is blocked", field)
		}
	}
	for _, text := range r.Want.NotBlocked {
		if r.blocked(r.scope(text)) {
			r.report("%s is blocked", text)
		}
	}
}

func (r *run) scope(text string) checker.Scope {
	typ, value, ok := strings.Cut(text, ":")
	if !ok || value == "" {
		r.t.Fatalf("%q is not type:value", text)
	}
	return checker.Scope{Type: typ, Value: value}
}

func (r *run) blocked(s checker.Scope) bool {
	blocks, err := redislookup.New(r.redis.Client, redislookup.WithKeyPrefix(r.redis.Prefix)).Lookup(r.t.Context(), []checker.Scope{s})
	if err != nil {
		r.t.Fatal(err)
	}
	return len(blocks) > 0
}

// compareDeadLetters finds each dead letter among those wanted.
func (r *run) compareDeadLetters() {
	left := slices.Clone(r.Want.DeadLetters)
	letters, err := r.redis.Client.XRange(r.t.Context(), r.stream()+":dead", "-", "+").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, letter := range letters {
		reason, _ := letter.Values["dead.reason"].(string)
		i := slices.IndexFunc(left, func(d deadLetter) bool { return d.Times >= 0 && strings.Contains(reason, d.Reason) })
		if i < 0 {
			r.report("dead letter: %s", reason)
			continue
		}
		if left[i].Times = max(left[i].Times, 1) - 1; left[i].Times == 0 {
			left[i].Times = -1 // all are there
		}
	}
	for _, d := range left {
		if d.Times >= 0 {
			r.report("%d more dead letters wanted with %q", max(d.Times, 1), d.Reason)
		}
	}
}

func (r *run) compareAlerts() {
	entries, err := r.redis.Client.XRange(r.t.Context(), r.cfg.Events.Stream, "-", "+").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	var alerts []string
	for _, e := range entries {
		if e.Values["event_type"] != wire.TypeAlert {
			continue
		}
		var record struct{ Attributes map[string]any }
		text, _ := e.Values["event"].(string)
		if err := json.Unmarshal([]byte(text), &record); err != nil {
			r.t.Fatal(err)
		}
		rule, _ := record.Attributes["security_rule.name"].(string)
		alerts = append(alerts, rule)
	}
	slices.Sort(alerts)
	if want := slices.Sorted(slices.Values(r.Want.Alerts)); !slices.Equal(alerts, want) {
		r.report("alerts of %q, want %q", alerts, want)
	}
}

// compareEvent decodes the last entry as the worker did.
func (r *run) compareEvent() {
	want := r.Want.Event
	if want == nil {
		return
	}
	e, err := wire.NewDecoder(r.cfg.Decoder).Decode(r.stream(), r.lastID, r.last)
	if err != nil {
		r.report("decode the last entry: %v", err)
		return
	}
	if want.Type != "" && e.Type != want.Type {
		r.report("type %q, want %q", e.Type, want.Type)
	}
	for name, text := range want.Attributes {
		if got := textOf(&e, name); got != text {
			r.report("%s = %q, want %q", name, got, text)
		}
	}
	for _, name := range want.Absent {
		if v, ok := e.Get(name); ok {
			r.report("%s = %v, want it absent", name, v)
		}
	}
	if want.Scopes != nil {
		var got []string
		for _, s := range e.Scopes {
			got = append(got, s.String())
		}
		if !slices.Equal(got, want.Scopes) {
			r.report("scopes %q, want %q", got, want.Scopes)
		}
	}
	r.compareTime(e.Time, want.Time)
}

func (r *run) compareTime(got time.Time, want string) {
	switch want {
	case "":
	case "entry":
		if at, _ := wire.EntryTime(r.lastID); !got.Equal(at) {
			r.report("time %s, want the entry's, %s", got, at)
		}
	default:
		if at, err := time.Parse(time.RFC3339Nano, want); err != nil || !got.Equal(at) {
			r.report("time %s, want %s (%v)", got.Format(time.RFC3339Nano), want, err)
		}
	}
}

// textOf is an attribute as text, lists and objects as JSON.
func textOf(e *event.Event, name string) string {
	v, _ := e.Get(name)
	if text, ok := event.Text(v); ok || v == nil {
		return text
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// metrics are the worker's series and their values.
func (r *run) metrics() map[string]float64 {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.addr+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(raw)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			out[line[:i]], _ = strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		}
	}
	return out
}
