package rules

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A Spec is one rule as configured.
type Spec struct {
	// Name is unique; windows, matches and metrics carry it.
	Name string
	// Type is the built-in rule or a general type; "" if Name is that of a built-in rule. Rules of
	// the same type count apart.
	Type string
	// Decode overlays the configuration on a struct of parameters that holds the defaults.
	// A key that the struct does not have is an error.
	Decode func(params any) error
}

// A ParamError reports an invalid parameter of a rule.
type ParamError struct {
	Param string
	Err   error
}

func (e *ParamError) Error() string { return e.Param + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *ParamError) Unwrap() error { return e.Err }

// ErrUnknown is returned for a rule that is not built in.
var ErrUnknown = errors.New("unknown rule")

// A builder makes a rule from its configured parameters.
type builder func(spec Spec, shared *shared) (Rule, error)

// shared is what the rules of one Set have in common while it is built.
type shared struct {
	lateness time.Duration
	// failures is the window of login failures that the first brute_force_login fills and
	// login_throttle reads. Its Length is 0 if there is no brute_force_login.
	failures *window.Spec
	// proxies are the operator's own: a header that names one of them is not spoofed.
	proxies checker.TrustedProxies
}

// An Option changes how [Build] makes the rules.
type Option func(*shared)

// WithTrustedProxies sets the operator's proxies. suspicious_proxy_header ignores their
// addresses in headers.
func WithTrustedProxies(proxies checker.TrustedProxies) Option {
	return func(s *shared) { s.proxies = proxies }
}

// A builtin is a rule that configuration can name.
type builtin struct {
	build  builder
	action DefaultAction
}

// builtins are the built-in rules, by name.
var builtins = map[string]builtin{
	"brute_force_login":       {newBruteForceLogin, blockAddress()},
	"login_throttle":          {newLoginThrottle, blockAddress()},
	"repeated_client_error":   {newRepeatedClientError, blockAddress()},
	"repeated_route":          {newRepeatedRoute, blockAddress()},
	"request_body_threshold":  {newRequestBodyThreshold, blockAddress()},
	"resource_enumeration":    {newResourceEnumeration, DefaultAction{Action: Alert}},
	"sensitive_field_change":  {newSensitiveFieldChange, DefaultAction{PersistBlock, []string{checker.ScopeUser, checker.ScopeSession}}},
	"suspicious_proxy_header": {newSuspiciousProxyHeader, blockAddress()},
}

// general are the types of rules that count what the configuration says. A rule of such a type has
// a name of its own.
var general = map[string]builtin{
	"distinct":  {newDistinct, DefaultAction{Action: Alert}},
	"threshold": {newThreshold, DefaultAction{Action: Alert}},
}

// Types returns the types that a rule can have: the built-in rules and the general types, sorted.
func Types() []string {
	types := append(Names(), General()...)
	slices.Sort(types)
	return types
}

// General returns the general types, sorted.
func General() []string { return slices.Sorted(maps.Keys(general)) }

// builtinOf returns the built-in rule or the general type.
func builtinOf(typ string) (builtin, bool) {
	if b, ok := builtins[typ]; ok {
		return b, true
	}
	b, ok := general[typ]
	return b, ok
}

// Names returns the names of the built-in rules, sorted.
func Names() []string {
	names := make([]string, 0, len(builtins))
	for name := range builtins {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Build makes the configured built-in rules, in order. Entries handled up to lateness after
// their event are still counted correctly. An error concerns specs[at]; it is a *ParamError if
// one parameter is invalid.
func Build(specs []Spec, lateness time.Duration, opts ...Option) (built []Rule, at int, err error) {
	common := &shared{lateness: lateness, failures: &window.Spec{}}
	for _, opt := range opts {
		opt(common)
	}
	for i, spec := range specs {
		rule, ok := builtinOf(cmp.Or(spec.Type, spec.Name))
		if !ok {
			return nil, i, fmt.Errorf("%w %q (known: %s)", ErrUnknown, cmp.Or(spec.Type, spec.Name), strings.Join(Types(), ", "))
		}
		made, err := rule.build(spec, common)
		if err != nil {
			return nil, i, err
		}
		built = append(built, made)
	}
	return built, 0, nil
}

// A Set holds the rules that run, indexed by event type. It is immutable.
type Set struct {
	rules  []Rule
	listed map[string][]Rule
	loose  []Rule // rules that accept more types than those they list
}

// NewSet indexes the rules. An event passes them in this order.
func NewSet(rules ...Rule) *Set {
	s := &Set{rules: rules, listed: map[string][]Rule{}}
	for _, r := range rules {
		w := r.EventFilter()
		if w.Any || len(w.Prefixes) > 0 {
			s.loose = append(s.loose, r)
		}
		for _, typ := range w.Types {
			s.listed[typ] = nil
		}
	}
	for typ := range s.listed {
		s.listed[typ] = subscribed(rules, typ)
	}
	return s
}

// Rules returns all rules of the set.
func (s *Set) Rules() []Rule { return s.rules }

// A Comparison names an attribute whose value a rule compares, for events of Type; "" is every
// type.
type Comparison struct{ Type, Attribute string }

// A comparer is a rule that compares values of attributes other than scopes. An event in which
// such an attribute has two values is not judged.
type comparer interface{ Compares() []string }

// Comparisons returns what the rules compare.
func (s *Set) Comparisons() []Comparison {
	var out []Comparison
	for _, r := range s.rules {
		c, ok := r.(comparer)
		if !ok {
			continue
		}
		types := r.EventFilter().Types
		if r.EventFilter().Any || len(r.EventFilter().Prefixes) > 0 {
			types = []string{""}
		}
		for _, typ := range types {
			for _, name := range c.Compares() {
				out = append(out, Comparison{typ, name})
			}
		}
	}
	return out
}

// For yields the rules that evaluate e: those that accept its type and select it. It is small so
// that the compiler inlines it and allocates nothing.
func (s *Set) For(e *event.Event) iter.Seq[Rule] {
	return func(yield func(Rule) bool) { s.yield(e, yield) }
}

func (s *Set) yield(e *event.Event, yield func(Rule) bool) {
	rules, ok := s.listed[e.Type]
	if !ok {
		rules = subscribed(s.loose, e.Type)
	}
	for _, r := range rules {
		if r.Selects(e) && !yield(r) {
			return
		}
	}
}

// Asked reports whether a rule names the type or a prefix of it, rather than accepting all
// types.
func (s *Set) Asked(eventType string) bool {
	if _, listed := s.listed[eventType]; listed {
		return true
	}
	for _, r := range s.loose {
		if slices.ContainsFunc(r.EventFilter().Prefixes, func(p string) bool { return strings.HasPrefix(eventType, p) }) {
			return true
		}
	}
	return false
}

func subscribed(rules []Rule, eventType string) []Rule {
	var out []Rule
	for _, r := range rules {
		w := r.EventFilter()
		if w.Any || slices.Contains(w.Types, eventType) || slices.ContainsFunc(w.Prefixes, func(p string) bool { return strings.HasPrefix(eventType, p) }) {
			out = append(out, r)
		}
	}
	return out
}

// Counting are the parameters of a rule that counts events in a window.
type Counting struct {
	Threshold int           `yaml:"threshold"`
	Window    time.Duration `yaml:"window"`
}

const (
	maxThreshold = 10_000
	maxWindow    = 31 * 24 * time.Hour
)

func (c Counting) check() error {
	if c.Threshold < 1 || c.Threshold > maxThreshold {
		return &ParamError{"threshold", fmt.Errorf("%d is not between 1 and %d", c.Threshold, maxThreshold)}
	}
	if c.Window < time.Second || c.Window > maxWindow {
		return &ParamError{"window", fmt.Errorf("%s is not between 1s and %s", c.Window, maxWindow)}
	}
	return nil
}

func (c Counting) spec(name string, common *shared) *window.Spec {
	return &window.Spec{Name: name, Threshold: c.Threshold, Length: c.Window, Lateness: common.lateness}
}

// neverCleared marks the window of a rule without clears, so that the store need not look for
// any.
func neverCleared(s *window.Spec) *window.Spec {
	s.MaxClears = window.NeverCleared
	return s
}

func (o MatchOptions) check() error {
	if o.Severity < 0 || o.Severity > 10 {
		return &ParamError{"severity", fmt.Errorf("%d is not between 0 and 10", o.Severity)}
	}
	if o.Mode != modeEnforce && o.Mode != modeObserve {
		return &ParamError{"mode", fmt.Errorf("%q is not one of observe, enforce", o.Mode)}
	}
	return nil
}

// paths are regular expressions searched for in url.path. An empty list matches every path and
// events without one.
type paths []*regexp.Regexp

func compilePaths(patterns []string) (paths, error) {
	out := make(paths, len(patterns))
	for i, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			return nil, &ParamError{fmt.Sprintf("paths[%d]", i), err}
		}
		out[i] = re
	}
	return out, nil
}

func (p paths) match(path string) bool {
	return len(p) == 0 || slices.ContainsFunc(p, func(re *regexp.Regexp) bool { return re.MatchString(path) })
}

// A decision is the action a rule proposes: the configured one, else the rule's own.
type decision struct {
	own        string
	configured string
}

func (d decision) of(m Match) Match {
	m.Decision, m.Configured = d.own, false
	if d.configured != "" {
		m.Decision, m.Configured = d.configured, true
	}
	return m
}

// decode fills params from the rule's configuration and checks the parameters that rules have
// in common.
func decode(spec Spec, params any, o *MatchOptions, c *Counting) error {
	o.Mode = modeEnforce
	if err := spec.Decode(params); err != nil {
		return err
	}
	if c != nil {
		if err := c.check(); err != nil {
			return err
		}
	}
	return o.check()
}
