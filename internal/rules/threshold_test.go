package rules_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rules"
)

func typed(typ, params string) rules.Spec {
	s := spec("mine", params)
	s.Type = typ
	return s
}

func TestThresholdCountsSelectedEventsOfAGroup(t *testing.T) {
	t.Parallel()
	d := detect(t, typed("threshold", `{where: {event_type: checkout.coupon.rejected}, unless: {coupon: STAFF}, group_by: [user.id], threshold: 3, window: 10m}`))
	coupon := func(user, code string) []string {
		return []string{"event_type", "checkout.coupon.rejected", "user.id", user, "coupon", code}
	}
	d.want(d.at(0, coupon("7", "a")...))
	d.want(d.at(1, coupon("7", "staff")...))
	d.want(d.at(2, coupon("8", "a")...))
	d.want(d.at(3, coupon("7", "a")...))
	d.want(d.at(4, "event_type", "checkout.coupon.accepted", "user.id", "7"))
	d.want(d.at(5, "event_type", "checkout.coupon.rejected", "coupon", "no user"))
	matches := d.at(6, coupon("7", "b")...)
	d.want(matches, "mine")
	if m := matches[0]; m.Group != "7" || m.Metadata["count"] != 3 || m.Severity != 5 || m.Message == "" || m.Cooldown != 10*time.Minute {
		t.Errorf("match %+v", m)
	}
	d.want(d.at(700, coupon("7", "c")...))
}

// TestDistinctCountsValues: one account that many addresses try, each of them once.
func TestDistinctCountsValues(t *testing.T) {
	t.Parallel()
	d := detect(t, typed("distinct", `{where: {event_type: auth.login.failed}, group_by: [user.name], distinct: source.address, threshold: 3, window: 10m}`))
	d.want(d.at(0, failure("203.0.113.1", "ann")...))
	d.want(d.at(1, failure("203.0.113.1", "ann")...))
	d.want(d.at(2, failure("::ffff:203.0.113.1", "ann")...)) // the same address
	d.want(d.at(3, failure("203.0.113.2", "ann")...))
	d.want(d.at(4, failure("203.0.113.3", "bob")...))
	d.want(d.at(5, failure("unknown", "ann")...))
	matches := d.at(6, failure("203.0.113.3", "ann")...)
	d.want(matches, "mine")
	if m := matches[0]; m.Group != "ann" || m.Metadata["count"] != 3 {
		t.Errorf("match %+v", m)
	}
}

// TestGroupsOfSeveralAttributesStayApart: whatever their values have in them.
func TestGroupsOfSeveralAttributesStayApart(t *testing.T) {
	t.Parallel()
	d := detect(t, typed("threshold", `{where: {event_type: x}, group_by: [a, b], threshold: 2, window: 10m}`))
	long := strings.Repeat("l", 5000)
	for i, values := range [][2]string{{"1 1", "1"}, {"1", "1 1"}, {"1:1", "1"}, {"1", "1:1"}, {"11", "1"}, {"1", "11"}, {long, "1"}, {long, "2"}, {"1", ""}, {"1", ""}} {
		d.want(d.at(float64(i), "event_type", "x", "a", values[0], "b", values[1]))
	}
	d.want(d.at(20, "event_type", "x", "a", long, "b", "2"), "mine")
}

func TestGroupByScope(t *testing.T) {
	t.Parallel()
	d := detect(t, typed("threshold", `{where: {event_type: x}, group_by: [ip, session], threshold: 2, window: 10m}`))
	event := []string{"event_type", "x", "source.address", "203.0.113.9", "session.id", "s1"}
	d.want(d.at(0, event...))
	d.want(d.at(1, event...), "mine")
}

func TestGeneralRuleSaysWhyItCannotUseAnEvent(t *testing.T) {
	t.Parallel()
	d := detect(t, typed("distinct", `{where: {event_type: x}, group_by: [source.address], distinct: path, threshold: 2, window: 10m}`))
	for want, fields := range map[string][]string{
		"[]":                        {"source.address", "203.0.113.9", "path", "/"},
		"[mine: no_scope]":          {"path", "/"},
		"[mine: bad_address]":       {"source.address", "unknown", "path", "/"},
		"[mine: missing_attribute]": {"source.address", "203.0.113.9"},
	} {
		if got := fmt.Sprint(d.reasons(append([]string{"event_type", "x"}, fields...)...)); got != want {
			t.Errorf("%v: %s, want %s", fields, got, want)
		}
	}
}

func TestGeneralRuleIsRefused(t *testing.T) {
	t.Parallel()
	for params, want := range map[string]string{
		"{group_by: [a], distinct: b, threshold: 2, window: 1m}":                                    "where",
		"{where: {a: b}, distinct: b, threshold: 2, window: 1m}":                                    "group_by",
		"{where: {a: b}, group_by: [a, b, c, d, e, f], distinct: b, threshold: 2, window: 1m}":      "group_by",
		"{where: {a: b}, group_by: [a, a], distinct: b, threshold: 2, window: 1m}":                  "group_by[1]",
		"{where: {a: b}, group_by: [a], threshold: 2, window: 1m}":                                  "distinct",
		"{where: {a: b}, group_by: [a], distinct: b, window: 1m}":                                   "threshold",
		"{where: {a: b}, group_by: [a], distinct: b, threshold: 2}":                                 "window",
		"{where: {a: b}, group_by: [a], distinct: b, threshold: 2, window: 1m, decision: nonsense}": "decision",
	} {
		var refused *rules.ParamError
		if _, _, err := rules.Build([]rules.Spec{typed("distinct", params)}, 0); !errors.As(err, &refused) || refused.Param != want {
			t.Errorf("%s: %v, want %s to be refused", params, err, want)
		}
	}
}
