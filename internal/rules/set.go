package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/window"
	"github.com/wardstream/wardstream/pkg/checker"
)

// A Spec is one rule as configured.
type Spec struct {
	Name string
	// Decode fills a struct of parameters, which holds the defaults, from the
	// configuration, refusing what the struct doesn't name.
	Decode func(params any) error
}

// A ParamError says which parameter of a rule can't be used, and why.
type ParamError struct {
	Param string
	Err   error
}

func (e *ParamError) Error() string { return e.Param + ": " + e.Err.Error() }

// Unwrap returns why the parameter can't be used.
func (e *ParamError) Unwrap() error { return e.Err }

// ErrUnknown is returned for a rule that is no built-in.
var ErrUnknown = errors.New("unknown rule")

// A builder makes a rule of its configured parameters.
type builder func(spec Spec, shared *shared) (Rule, error)

// shared is what the rules of one Set have in common while it is built.
type shared struct {
	lateness time.Duration
	// failures is the window of login failures: brute_force_login fills it and
	// login_throttle reads it. Its Length is 0 if there is no brute_force_login.
	failures *window.Spec
	// proxies are the operator's own, whose addresses nobody pretends to have.
	proxies checker.TrustedProxies
}

// An Option changes what [Build] makes of the rules.
type Option func(*shared)

// WithTrustedProxies says which addresses are those of the operator's proxies:
// headers name them for good reason.
func WithTrustedProxies(proxies checker.TrustedProxies) Option {
	return func(s *shared) { s.proxies = proxies }
}

// builtins are the rules that configuration can name.
var builtins = map[string]builder{
	"brute_force_login":       newBruteForceLogin,
	"login_throttle":          newLoginThrottle,
	"repeated_client_error":   newRepeatedClientError,
	"repeated_route":          newRepeatedRoute,
	"request_body_threshold":  newRequestBodyThreshold,
	"resource_enumeration":    newResourceEnumeration,
	"sensitive_field_change":  newSensitiveFieldChange,
	"suspicious_proxy_header": newSuspiciousProxyHeader,
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

// Build makes the configured built-in rules, in order. lateness is how late an
// entry may be handled and still be counted rightly. An error is about
// specs[at]; it is a *ParamError where one parameter is to blame.
func Build(specs []Spec, lateness time.Duration, opts ...Option) (built []Rule, at int, err error) {
	common := &shared{lateness: lateness, failures: &window.Spec{}}
	for _, opt := range opts {
		opt(common)
	}
	for i, spec := range specs {
		build, ok := builtins[spec.Name]
		if !ok {
			return nil, i, fmt.Errorf("%w %q (known: %s)", ErrUnknown, spec.Name, strings.Join(Names(), ", "))
		}
		rule, err := build(spec, common)
		if err != nil {
			return nil, i, err
		}
		built = append(built, rule)
	}
	return built, 0, nil
}

// A Set is the rules that run, indexed by event type. It is immutable.
type Set struct {
	rules  []Rule
	listed map[string][]Rule
	loose  []Rule // those that want more than the types they list
}

// NewSet indexes the rules; events see them in this order.
func NewSet(rules ...Rule) *Set {
	s := &Set{rules: rules, listed: map[string][]Rule{}}
	for _, r := range rules {
		w := r.Wants()
		if w.Any || len(w.Prefixes) > 0 {
			s.loose = append(s.loose, r)
		}
		for _, typ := range w.Types {
			s.listed[typ] = nil
		}
	}
	for typ := range s.listed {
		s.listed[typ] = wanting(rules, typ)
	}
	return s
}

// Rules returns all rules of the set.
func (s *Set) Rules() []Rule { return s.rules }

// A Comparison says that a rule compares the value of an attribute, for events of a type; "" is every type.
type Comparison struct{ Type, Attribute string }

// A comparer is a rule that compares values of attributes besides scopes. An event in which such an attribute has two values is not judged.
type comparer interface{ Compares() []string }

// Comparisons returns what the rules compare.
func (s *Set) Comparisons() []Comparison {
	var out []Comparison
	for _, r := range s.rules {
		c, ok := r.(comparer)
		if !ok {
			continue
		}
		types := r.Wants().Types
		if r.Wants().Any || len(r.Wants().Prefixes) > 0 {
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

// For returns the rules that want events of the type.
func (s *Set) For(eventType string) []Rule {
	if rules, ok := s.listed[eventType]; ok {
		return rules
	}
	return wanting(s.loose, eventType)
}

// Asked reports whether a rule asks for the type by name or by its beginning,
// rather than for events of any type.
func (s *Set) Asked(eventType string) bool {
	if _, listed := s.listed[eventType]; listed {
		return true
	}
	for _, r := range s.loose {
		if slices.ContainsFunc(r.Wants().Prefixes, func(p string) bool { return strings.HasPrefix(eventType, p) }) {
			return true
		}
	}
	return false
}

func wanting(rules []Rule, eventType string) []Rule {
	var out []Rule
	for _, r := range rules {
		w := r.Wants()
		if w.Any || slices.Contains(w.Types, eventType) || slices.ContainsFunc(w.Prefixes, func(p string) bool { return strings.HasPrefix(eventType, p) }) {
			out = append(out, r)
		}
	}
	return out
}

// Counting is the part of a rule's parameters that says how much is too much.
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

// neverCleared spares the store of a rule that clears nothing from looking for clears.
func neverCleared(s *window.Spec) *window.Spec {
	s.MaxClears = window.NeverCleared
	return s
}

func (s Said) check() error {
	if s.Severity < 0 || s.Severity > 10 {
		return &ParamError{"severity", fmt.Errorf("%d is not between 0 and 10", s.Severity)}
	}
	return nil
}

// paths are regular expressions that are searched for in url.path; none means
// every path, a missing one too.
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

// A decision is what a rule proposes: what it was configured to, else its own.
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

func checkDecision(decision string) error {
	switch decision {
	case "", "observe", "alert", "temp_block", "persist_block", "block":
		return nil
	}
	return &ParamError{"decision", fmt.Errorf("%q is none of observe, alert, temp_block, persist_block, block", decision)}
}

// decode fills params from the rule's configuration and checks the parts it
// shares with other rules.
func decode(spec Spec, params any, s *Said, c *Counting) error {
	if err := spec.Decode(params); err != nil {
		return err
	}
	if c != nil {
		if err := c.check(); err != nil {
			return err
		}
	}
	return s.check()
}
