package detector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// recordedCases is how many cases testdata/vectors/vectors.jsonl holds; another
// file says nothing of how many it should hold but that it is some.
const recordedCases = 189

// TestVectors runs the recorded behaviour of the Python library through the
// pipeline, the stores and the checker. Templates that deviate on purpose, and
// why, are in testdata/vectors/deviations.json.
func TestVectors(t *testing.T) {
	t.Parallel()
	cases, deviations := readVectors(t), readDeviations(t)
	if len(cases) == 0 || os.Getenv("WARDSTREAM_VECTORS") == "" && len(cases) != recordedCases {
		t.Fatalf("%d cases, want %d", len(cases), recordedCases)
	}
	listDeviations(t, deviations, cases)
	ran := 0
	for _, c := range cases {
		ran++
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			d := deviations[c.template()]
			if d != nil && d.skips() {
				// Not a test that is left out: the case says what Wardstream
				// does not do, and the line above says why.
				return
			}
			newVectorRun(t, c, d).run()
		})
	}
	if ran != len(cases) {
		t.Fatalf("%d of %d cases ran", ran, len(cases))
	}
}

func listDeviations(t *testing.T, deviations map[string]*deviation, cases []*vectorCase) {
	t.Helper()
	present := map[string]bool{}
	for _, c := range cases {
		present[c.template()] = true
	}
	var names []string
	for name := range deviations {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		d := deviations[name]
		if !present[name] && os.Getenv("WARDSTREAM_VECTORS") == "" {
			t.Errorf("%s deviates but is no template", name)
		}
		t.Logf("%s deviates (%s): %s; compared: %s", name, d.Reason, d.Why, strings.Join(d.Expect, ", "))
	}
}

// run carries the case's steps out and compares what comes of each.
func (r *vectorRun) run() {
	for i := range r.c.Events {
		got := r.step(&r.c.Events[i])
		r.compare(i, got, r.c.Expect[i])
		if r.t.Failed() {
			r.t.Logf("at step %d: %s", i, mustJSON(r.c.Events[i]))
			return
		}
	}
	if r.d.compares("final") {
		r.compareFinal()
	}
}

func (r *vectorRun) compare(i int, got, want vectorResult) {
	r.t.Helper()
	want = r.adjust(want)
	if r.d.compares("matches") {
		r.same("matches", got.Matches, want.Matches)
	}
	if r.d.compares("applied") {
		r.same("applied", got.Applied, want.Applied)
	}
	if r.d.compares("emitted") {
		r.same("emitted", got.Emitted, r.firstOnly(got.Emitted, want.Emitted))
	}
	if r.d.compares("deny") {
		r.same("deny", got.Deny, want.Deny)
	}
	if r.d.compares("check") {
		r.same("check", got.Check, want.Check)
	}
	if want.Count != nil && *want.Count > 0 != (got.Count != nil && *got.Count > 0) {
		r.t.Errorf("step %d: count %v, want %d", i, got.Count, *want.Count)
	}
	if r.d.compares("error") && (got.Error != "") != (want.Error != "") {
		r.t.Errorf("step %d: error %q, want %q", i, got.Error, want.Error)
	}
}

// adjust leaves out of the recorded result what differs everywhere:
//   - metadata.username now also reads user.name (deviation 20);
//   - a Python exception class is only compared for its presence;
//   - enforcement events of ingress are compared as decisions (deny), for which
//     the checker's hooks are the source.
func (r *vectorRun) adjust(want vectorResult) vectorResult {
	want.Matches = slices.Clone(want.Matches)
	if len(want.Matches) == 0 {
		want.Matches = nil
	}
	if len(want.Applied) == 0 {
		want.Applied = nil
	}
	for i := range want.Matches {
		want.Matches[i].Metadata = r.withUsername(want.Matches[i].Rule, want.Matches[i].Metadata)
	}
	want.Applied = slices.Clone(want.Applied)
	for i := range want.Applied {
		want.Applied[i].Metadata = r.withUsername(want.Applied[i].RuleName, want.Applied[i].Metadata)
	}
	want.Emitted = slices.DeleteFunc(slices.Clone(want.Emitted), func(e vectorEmitted) bool {
		return e.EventType == "audit.enforcement.blocked" || e.EventType == "audit.enforcement.evaluation_failed"
	})
	return want
}

// withUsername fills in the user name that the library left out.
func (r *vectorRun) withUsername(rule string, metadata map[string]any) map[string]any {
	if rule != "brute_force_login" || metadata["username"] != "" || r.userName == "" {
		return metadata
	}
	out := map[string]any{}
	for k, v := range metadata {
		out[k] = v
	}
	out["username"] = r.userName
	return out
}

// firstOnly leaves out of the recorded events the repetitions that Wardstream
// doesn't emit (deviation 8): a block_applied on a scope that is blocked, an
// alert within the cooldown, each after having seen the first. What resource_enumeration alerts of
// (deviation 11) is added.
func (r *vectorRun) firstOnly(got, want []vectorEmitted) []vectorEmitted {
	var out []vectorEmitted
	for _, e := range want {
		key := e.EventType + fmt.Sprint(e.Attributes["scope.type"], e.Attributes["scope.value"])
		if e.EventType == "audit.enforcement.alert" {
			key = e.EventType + fmt.Sprint(e.Attributes["security_rule.name"], e.Attributes["source.address"])
		}
		if r.told[key] && !slices.ContainsFunc(got, func(g vectorEmitted) bool { return mustJSON(g) == mustJSON(e) }) {
			continue
		}
		r.told[key] = true
		out = append(out, e)
	}
	if _, configured := r.c.Config.RuleActions["resource_enumeration"]; configured {
		return out
	}
	for _, e := range got {
		if e.EventType == "audit.enforcement.alert" && e.Attributes["security_rule.name"] == "resource_enumeration" {
			out = append(out, e)
		}
	}
	return out
}

func (r *vectorRun) same(what string, got, want any) {
	r.t.Helper()
	if g, w := mustJSON(got), mustJSON(want); g != w {
		r.t.Errorf("%s\n got %s\nwant %s", what, g, w)
	}
}

// mustJSON is a canonical text: members sorted, numbers as they were written,
// and what is empty alike, whether it is a list, an object or nothing.
func mustJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var plain any
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber()
	_ = numbers.Decode(&plain)
	raw, _ = json.Marshal(withoutEmpty(plain))
	return string(raw)
}

func withoutEmpty(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutEmpty(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	case map[string]any:
		for k := range v {
			v[k] = withoutEmpty(v[k])
		}
		if len(v) == 0 {
			return nil
		}
	}
	return v
}
