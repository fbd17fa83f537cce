package detector

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/enforce"
	"github.com/wardstream/wardstream/internal/operator"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/pgstore"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/uncounted"
	"github.com/wardstream/wardstream/internal/window/rediswindow"
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
	durable  *pgstore.Blocks // nil where the case has no permanent tier
	keep     func()          // what a detector beside does: keeps Redis's copy of permanent blocks fresh
	pipeline *Pipeline
	safe     *Pipeline // the rules that the library ran at ingress
	operator *operator.Operator
	checker  *checker.Checker
	proxies  checker.TrustedProxies

	model *vectorModel

	matches  []vectorMatch
	emitted  []vectorEmitted
	seen     map[string]bool
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
	r := &vectorRun{t: t, c: c, d: d, seen: map[string]bool{}, redis: miniredis.RunT(t)}
	r.clock = c.time(0)
	r.redis.SetTime(r.clock)
	r.raw = redis.NewClient(&redis.Options{Addr: r.redis.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = r.raw.Close() })
	now := func() time.Time { return r.clock }
	blocks := r.openBlocks(now)
	reconciler := tiered.NewReconciler(blocks, tiered.ReconcilerOptions{})
	r.keep = func() {
		if _, err := reconciler.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.blocks = &recordedBlocks{Blocks: blocks, now: now}
	policy := c.Config.policy()
	windows := rediswindow.New(r.raw, "sec_audit", nil)
	all, safe := r.rules(false), r.rules(true)
	for _, p := range []struct {
		into **Pipeline
		set  []rules.Rule
	}{{&r.pipeline, all}, {&r.safe, safe}} {
		*p.into = &Pipeline{
			decoder: wire.NewDecoder(wire.DecoderOptions{}), rules: rules.NewSet(p.set...), windows: windows, policy: policy,
			blocks: r.blocks, cooldowns: cooldown.New(r.raw, "sec_audit", now), sinks: r, now: now,
			metrics:   newPipelineMetrics(prometheus.NewRegistry()),
			uncounted: uncounted.New(prometheus.NewRegistry(), slog.New(slog.DiscardHandler), time.Now),
		}
	}
	r.operator = &operator.Operator{Blocks: r.blocks, Sinks: r, StatusCode: policy.StatusCode, Message: policy.Message, Scopes: operator.Scopes{Blockable: policy.Blockable}, Now: now}
	r.model = newVectorModel(c)
	r.checker, r.proxies = c.Config.checker(t, r.blocks, now)
	return r
}

// openBlocks opens the stores that the case asks for, under the library's names.
func (r *vectorRun) openBlocks(now func() time.Time) *tiered.Blocks {
	r.t.Helper()
	cache, err := redisstore.NewBlocks(r.raw, redisstore.BlockOptions{
		Prefix: "sec_audit", PermanentTTL: time.Duration(r.c.Config.PermanentCacheTTL) * time.Second, Now: now,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if !r.c.Config.PermanentTier {
		return tiered.New(cache, nil, tiered.Options{Now: now})
	}
	env := testenv.Postgres(r.t)
	db := stdlib.OpenDBFromPool(env.Pool)
	r.t.Cleanup(func() { _ = db.Close() })
	if _, err := schema.Migrate(r.t.Context(), db); err != nil {
		r.t.Fatal(err)
	}
	if r.durable, err = pgstore.New(env.Pool, pgstore.Options{Now: now}); err != nil {
		r.t.Fatal(err)
	}
	return tiered.New(cache, r.durable, tiered.Options{Now: now})
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

// compareFinal compares what is blocked at the end. Of a permanent block the
// library wrote its key again at every look-up; ours may be in the membership hash alone.
func (r *vectorRun) compareFinal() {
	r.t.Helper()
	permanent := map[string]bool{}
	var recorded, recordedLasting []string
	for _, p := range r.c.Final.Permanent {
		permanent[p[0]+":"+p[1]] = true
		recordedLasting = append(recordedLasting, p[0]+":"+p[1])
	}
	for _, f := range r.c.Final.RedisBlocks {
		if scope := f.ScopeType + ":" + f.ScopeValue; !permanent[scope] {
			recorded = append(recorded, fmt.Sprintf("%s %s %.0f", scope, f.RuleName, f.TTLRemaining))
		}
	}
	var lasting []string
	if r.durable != nil {
		rows, err := r.durable.List(r.t.Context(), 0)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, b := range rows {
			lasting = append(lasting, b.Scope.String())
		}
	}
	slices.Sort(recorded)
	slices.Sort(recordedLasting)
	slices.Sort(lasting)
	model, modelLasting := r.model.final()
	for _, part := range []struct{ got, recorded, model []string }{
		{r.keys(lasting), recorded, model}, {lasting, recordedLasting, modelLasting},
	} {
		r.compare("final", part.got, part.recorded, part.model)
	}
}

// keys are the blocks that Redis has a key of, with rule and seconds left, but
// for the copies of those that last, and what the case itself put there.
func (r *vectorRun) keys(lasting []string) []string {
	r.t.Helper()
	var out []string
	for _, key := range r.redis.Keys() {
		if !strings.HasPrefix(key, "sec_audit:block:") {
			continue
		}
		raw, err := r.redis.Get(key)
		if err != nil {
			r.t.Fatal(err)
		}
		if b, err := wire.DecodeBlock([]byte(raw)); err == nil && !slices.Contains(lasting, b.Scope.String()) {
			out = append(out, fmt.Sprintf("%s %s %.0f", b.Scope, b.Rule, r.redis.TTL(key).Seconds()))
		}
	}
	slices.Sort(out)
	return out
}
