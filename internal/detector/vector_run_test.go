package detector

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/postgres"
	"github.com/wardstream/wardstream/internal/store/redis"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/internal/window/memwindow"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/schema"
)

// A vectorRun carries out one case: a pipeline over a miniredis whose clock is
// set for every step, a real Postgres where the case has a permanent tier, and a checker.
type vectorRun struct {
	t     *testing.T
	c     *vectorCase
	d     *deviation
	clock time.Time
	redis *miniredis.Miniredis
	raw   *redis.Client

	blocks   *recordedBlocks
	keep     func() // what a detector beside does: keeps Redis's copy of permanent blocks fresh
	pipeline *Pipeline
	safe     *Pipeline // the rules that the library ran at ingress
	operator *Operator
	checker  *checker.Checker
	proxies  checker.TrustedProxies

	matches  []vectorMatch
	emitted  []vectorEmitted
	told     map[string]bool
	userName string
	entries  int
}

// recordedBlocks notes what is put.
type recordedBlocks struct {
	store.Blocks
	applied []vectorApplied
	now     func() time.Time
}

func (b *recordedBlocks) Put(ctx context.Context, puts []store.Put) ([]store.Result, error) {
	for _, p := range puts {
		b.applied = append(b.applied, appliedOf(p.Block))
	}
	results, err := b.Blocks.Put(ctx, puts)
	if err != nil {
		return nil, fmt.Errorf("put: %w", err)
	}
	return results, nil
}

func appliedOf(b checker.Block) vectorApplied {
	a := vectorApplied{
		ScopeType: b.Scope.Type, ScopeValue: b.Scope.Value, Kind: "permanent", StatusCode: b.StatusCode,
		Message: b.Message, RuleName: b.Rule, Reason: b.Reason, Metadata: b.Metadata,
	}
	if !b.Permanent() {
		ttl := int(b.ExpiresAt.Sub(b.CreatedAt).Seconds())
		a.Kind, a.TTL = "temp", &ttl
	}
	return a
}

// Emit takes the enforcement events down as the library would have emitted them.
func (r *vectorRun) Emit(_ context.Context, events []wire.Enforcement) error {
	for _, e := range events {
		line, err := wire.EncodeEnforcement(e, wire.Origin{})
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		var record struct {
			Severity   string         `json:"severity_text"`
			Attributes map[string]any `json:"attributes"`
		}
		if err := json.Unmarshal(line, &record); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		delete(record.Attributes, "enforcement.id")
		level := strings.Replace(record.Severity, "WARN", "WARNING", 1)
		r.emitted = append(r.emitted, vectorEmitted{EventType: e.Type, Level: level, Attributes: record.Attributes})
	}
	return nil
}

func newVectorRun(t *testing.T, c *vectorCase, d *deviation) *vectorRun {
	t.Helper()
	r := &vectorRun{t: t, c: c, d: d, told: map[string]bool{}, redis: miniredis.RunT(t)}
	r.clock = r.at(0)
	r.redis.SetTime(r.clock)
	r.raw = redis.NewClient(&redis.Options{Addr: r.redis.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = r.raw.Close() })
	now := func() time.Time { return r.clock }
	blocks := openVectorBlocks(t, r.raw, c, now)
	reconciler := tiered.NewReconciler(blocks, tiered.ReconcilerOptions{})
	r.keep = func() {
		if _, err := reconciler.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.blocks = &recordedBlocks{Blocks: blocks, now: now}
	policy := c.Config.policy()
	windows := memwindow.New(now)
	all, safe := r.rules(false), r.rules(true)
	for _, p := range []struct {
		into **Pipeline
		set  []rules.Rule
	}{{&r.pipeline, all}, {&r.safe, safe}} {
		*p.into = &Pipeline{
			decoder: wire.NewDecoder(wire.DecoderOptions{}), rules: rules.NewSet(p.set...), windows: windows, policy: policy,
			blocks: r.blocks, cooldowns: cooldown.New(r.raw, "sec_audit", now), sinks: r, now: now,
			metrics: newPipelineMetrics(prometheus.NewRegistry()),
		}
	}
	r.operator = &Operator{Blocks: r.blocks, Sinks: r, StatusCode: policy.StatusCode, Message: policy.Message, Now: now}
	r.checker, r.proxies = c.Config.checker(t, r.blocks, now)
	return r
}

// openVectorBlocks opens the stores that the case asks for, under the library's
// names.
func openVectorBlocks(t *testing.T, client *redis.Client, c *vectorCase, now func() time.Time) *tiered.Blocks {
	t.Helper()
	cache, err := redisstore.NewBlocks(client, redisstore.BlockOptions{
		Prefix: "sec_audit", PermanentTTL: time.Duration(c.Config.PermanentCacheTTL) * time.Second, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Config.PermanentTier {
		return tiered.New(cache, nil, tiered.Options{Now: now})
	}
	env := testenv.Postgres(t)
	db := stdlib.OpenDBFromPool(env.Pool)
	t.Cleanup(func() { _ = db.Close() })
	if _, err := schema.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	durable, err := postgres.New(env.Pool, postgres.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return tiered.New(cache, durable, tiered.Options{Now: now})
}

func (r *vectorRun) at(seconds float64) time.Time {
	return time.UnixMilli(int64(math.Round((r.c.T0 + seconds) * 1000))).UTC()
}

// rules builds the case's rules in order; where safe, only those that the
// library ran at ingress.
func (r *vectorRun) rules(safe bool) []rules.Rule {
	var specs []rules.Spec
	for _, c := range r.c.Config.Rules {
		if slices.Contains(rules.Names(), c.Type) {
			specs = append(specs, rules.Spec{Name: c.Type, Decode: decodeParams(c.Params)})
		}
	}
	built, at, err := rules.Build(specs, 0)
	if err != nil {
		r.t.Fatalf("rule %d: %v", at, err)
	}
	var out []rules.Rule
	for _, c := range r.c.Config.Rules {
		var rule rules.Rule
		switch c.Type {
		case "static_match":
			rule = newStaticMatch(r.t, c.Params)
		case "field_probe":
			rule = newFieldProbe(r.t, c.Params)
		default:
			rule, built = built[0], built[1:]
		}
		if safe && string(c.Params["safe_for_enforcement"]) != "true" && (c.Type == "static_match" || c.Type == "field_probe" || c.Type == "suspicious_proxy_header") {
			continue
		}
		out = append(out, &recordedRule{rule, r})
	}
	return out
}

// decodeParams translates the library's parameters.
func decodeParams(params map[string]json.RawMessage) func(any) error {
	return func(into any) error {
		ours := map[string]any{}
		for name, raw := range params {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				text = string(raw)
			}
			switch name {
			case "window_seconds":
				ours["window"] = whole(text, 1) + "s"
			case "block_ttl":
				ours["block_ttl"] = text + "s"
			case "safe_for_enforcement":
			case "threshold":
				if _, body := params["field"]; body || strings.HasPrefix(fmt.Sprintf("%T", into), "*rules.requestBody") {
					ours["threshold"] = json.RawMessage(text)
					continue
				}
				ours["threshold"] = json.RawMessage(whole(text, 1))
			default:
				ours[name] = raw
			}
		}
		if fmt.Sprintf("%T", into) == "*rules.bruteForceLoginParams" {
			ours["success_clears"] = "address" // as the library did
		}
		raw, err := json.Marshal(ours)
		if err != nil {
			return fmt.Errorf("translate parameters: %w", err)
		}
		return yaml.UnmarshalWithOptions(raw, into, yaml.Strict())
	}
}

// whole is a number as the library's int() made it, but at least least: what
// is less meant the same there and is refused in our configuration.
func whole(text string, least int) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	return strconv.Itoa(max(int(f), least))
}

// recordedRule notes the matches of a rule.
type recordedRule struct {
	rules.Rule
	run *vectorRun
}

func (r *recordedRule) Judge(e *event.Event, counts []int) (rules.Match, bool) {
	m, ok := r.Rule.Judge(e, counts)
	if ok {
		r.run.matches = append(r.run.matches, vectorMatch{
			Rule: m.Rule, Severity: m.Severity, Message: m.Message, Decision: m.Decision, Tags: m.Tags, Metadata: m.Metadata,
			Subject: m.Subject, EventType: e.Type, RequestID: e.Text("request_id"), SessionID: e.Text("session.id"),
			SrcIP: e.Text("source.address"), UserID: e.Text("user.id"),
		})
	}
	return m, ok
}

// staticMatch matches every event of its types.
type staticMatch struct {
	match rules.Match
	wants rules.Wants
}

func newStaticMatch(t *testing.T, params map[string]json.RawMessage) *staticMatch {
	t.Helper()
	p := struct {
		Name       string         `json:"name"`
		Severity   int            `json:"severity"`
		Message    string         `json:"message"`
		Decision   string         `json:"decision"`
		Tags       []string       `json:"tags"`
		Metadata   map[string]any `json:"metadata"`
		Subject    string         `json:"subject"`
		EventTypes []string       `json:"event_types"`
	}{Name: "static_match", Severity: 5, Message: "static"}
	raw, _ := json.Marshal(params)
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	return &staticMatch{
		wants: rules.Wants{Any: p.EventTypes == nil, Types: p.EventTypes},
		match: rules.Match{
			Rule: p.Name, Severity: p.Severity, Message: p.Message, Decision: p.Decision, Tags: p.Tags, Metadata: p.Metadata,
			Subject: p.Subject, Cooldown: time.Minute, BlockTTL: metadataTTL(p.Metadata),
		},
	}
}

// metadataTTL is the block length that metadata asks for: block_ttl, else ttl.
func metadataTTL(metadata map[string]any) time.Duration {
	for _, key := range []string{"block_ttl", "ttl"} {
		if v, ok := metadata[key]; ok {
			d, _ := time.ParseDuration(fmt.Sprint(v) + "s")
			return d
		}
	}
	return 0
}

func (s *staticMatch) Name() string                                     { return s.match.Rule }
func (s *staticMatch) Wants() rules.Wants                               { return s.wants }
func (s *staticMatch) Plan(_ *event.Event, ops []window.Op) []window.Op { return ops }
func (s *staticMatch) Judge(e *event.Event, _ []int) (rules.Match, bool) {
	m := s.match
	m.Group = e.Scope(checker.ScopeIP)
	return m, true
}

// fieldProbe matches every event and tells what look-ups find.
type fieldProbe struct{ keys []string }

func newFieldProbe(t *testing.T, params map[string]json.RawMessage) *fieldProbe {
	t.Helper()
	p := &fieldProbe{}
	if raw, ok := params["keys"]; ok {
		if err := json.Unmarshal(raw, &p.keys); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *fieldProbe) Name() string                                     { return "field_probe" }
func (p *fieldProbe) Wants() rules.Wants                               { return rules.Wants{Any: true} }
func (p *fieldProbe) Plan(_ *event.Event, ops []window.Op) []window.Op { return ops }
func (p *fieldProbe) Judge(e *event.Event, _ []int) (rules.Match, bool) {
	fields := map[string]any{}
	for _, key := range p.keys {
		fields[key] = "<default>"
		if v, ok := e.Get(key); ok {
			fields[key] = plainValue(v)
		}
	}
	metadata := map[string]any{"field": fields, "source.ip": e.Text("source.address"), "response.status_code": 0}
	for ours, recorded := range map[string]string{
		"request_id": "request_id", "session.id": "session_id", "source.address": "source.address", "url.path": "url.path",
		"url.full": "url.full", "user.id": "actor.id", "user.name": "actor.name", "model_label": "model.label",
		"object_id": "model.object_id", "http.request.method": "request.method",
	} {
		metadata[recorded] = e.Text(ours)
	}
	if ip := e.Text("source.ip"); ip != "" {
		metadata["source.ip"] = ip
	}
	if status, err := strconv.Atoi(e.Text("http.response.status_code")); err == nil {
		metadata["response.status_code"] = status
	}
	metadata["request.body"], _ = e.Get("request.body")
	metadata["proxy.trusted_route"] = e.Text("trusted_route") == "true"
	metadata["proxy.headers"], _ = e.Get("proxy_headers")
	return rules.Match{Rule: "field_probe", Severity: 1, Message: "probe", Metadata: metadata}, true
}

// plainValue is an attribute's value with its numbers as JSON has them.
func plainValue(v any) any {
	switch v := v.(type) {
	case event.Number:
		return json.Number(v)
	case map[string]any:
		out := maps.Clone(v)
		for k := range out {
			out[k] = plainValue(out[k])
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = plainValue(out[i])
		}
		return out
	}
	return v
}

// policy is the case's configuration as ours. Actions that are the library's
// own defaults are left to ours.
func (c *vectorConfig) policy() *enforce.Policy {
	p := &enforce.Policy{
		Actions: map[string]enforce.ActionConfig{}, BlockRules: map[string]time.Duration{}, Defaults: map[string]enforce.ActionConfig{},
		Fallback: enforce.Action(c.DefaultAction), BlockSeverity: -1, DefaultTTL: time.Duration(c.DefaultTTL) * time.Second,
		StatusCode: c.StatusCode, Message: c.Message,
		Blockable: []string{checker.ScopeUser, checker.ScopeUsername, checker.ScopeSession, checker.ScopeIP},
	}
	if !p.Fallback.Known() {
		p.Fallback = enforce.Observe
	}
	if c.BlockSeverity != nil {
		p.BlockSeverity = *c.BlockSeverity
	}
	for rule, ttl := range c.BlockRules {
		p.BlockRules[rule] = time.Duration(ttl) * time.Second
	}
	shipped := enforce.BuiltinActions()
	for rule, a := range c.RuleActions {
		ours := enforce.ActionConfig{
			Action: enforce.Action(a.Action), Scopes: a.Scopes, TTL: time.Duration(a.TTL) * time.Second,
			StatusCode: a.StatusCode, Message: a.Message,
		}
		if def, ok := shipped[rule]; ok && mustJSON(def) == mustJSON(ours) {
			p.Defaults[rule] = ours
			continue
		}
		p.Actions[rule] = ours
	}
	if len(c.RuleActions) > 0 {
		p.Defaults["resource_enumeration"] = shipped["resource_enumeration"]
	}
	return p
}

func (c *vectorConfig) checker(t *testing.T, blocks checker.Lookup, now func() time.Time) (*checker.Checker, checker.TrustedProxies) {
	t.Helper()
	count := 0
	if c.TrustedProxyCount != nil {
		count = *c.TrustedProxyCount
	}
	proxies, err := checker.ParseTrustedProxies(c.TrustedProxyCIDRs, count)
	if err != nil {
		t.Fatal(err)
	}
	precedence := append(slices.Clone(c.BlockPrecedence), checker.ScopeUser, checker.ScopeUsername, checker.ScopeSession, checker.ScopeIP)
	opts := []checker.Option{
		checker.WithClock(now), checker.WithDenial(c.StatusCode, c.Message), checker.WithTimeout(10 * time.Second),
		checker.WithPrecedence(dedupe(precedence)...),
	}
	for _, p := range c.FailClosedPaths {
		opts = append(opts, checker.WithFailClosed(regexp.MustCompile(p)))
	}
	return checker.New(blocks, opts...), proxies
}

func dedupe(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// compareFinal compares what is in Redis at the end. Of a permanent block the
// library wrote its key again at every look-up; ours may be in the membership hash alone.
func (r *vectorRun) compareFinal() {
	r.t.Helper()
	permanent := map[string]bool{}
	for _, p := range r.c.Final.Permanent {
		permanent[p[0]+":"+p[1]] = true
	}
	var got, want, lasting, wantLasting []string
	for _, key := range r.redis.Keys() {
		if !strings.HasPrefix(key, "sec_audit:block:") {
			continue
		}
		raw, err := r.redis.Get(key)
		if err != nil {
			r.t.Fatal(err)
		}
		b, err := wire.DecodeBlock([]byte(raw))
		if err != nil || permanent[b.Scope.String()] {
			continue // what the case itself put there; what is compared below
		}
		got = append(got, fmt.Sprintf("%s %s %.0f", b.Scope, b.Rule, r.redis.TTL(key).Seconds()))
	}
	for _, f := range r.c.Final.RedisBlocks {
		if scope := f.ScopeType + ":" + f.ScopeValue; !permanent[scope] {
			want = append(want, fmt.Sprintf("%s %s %.0f", scope, f.RuleName, f.TTLRemaining))
		}
	}
	r.same("temporary blocks at the end", slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))

	active, err := r.blocks.List(r.t.Context(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range active {
		if b.Permanent() && r.c.Config.PermanentTier {
			lasting = append(lasting, b.Scope.String())
		}
	}
	for scope := range permanent {
		wantLasting = append(wantLasting, scope)
	}
	r.same("permanent blocks at the end", slices.Sorted(slices.Values(lasting)), slices.Sorted(slices.Values(wantLasting)))
}
