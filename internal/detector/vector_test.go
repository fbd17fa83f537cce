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

func TestMain(m *testing.M) {
	if os.Getenv(poisonVariable) != "" {
		os.Exit(poisonChild())
	}
	os.Exit(testenv.Main(m))
}

// recordedCases is how many cases testdata/vectors/vectors.jsonl holds; another
// file says nothing of how many it should hold but that it is some.
const recordedCases = 189

// TestVectors runs the recorded behaviour of the Python library through the
// pipeline, the stores and the checker. Templates that deviate on purpose, why,
// and in what, are in testdata/vectors/deviations.json.
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
			newVectorRun(t, c, deviations[c.template()]).run()
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
			t.Errorf("%s deviates but is not a template", name)
		}
		t.Logf("%s deviates (%s): %s; as the model has it: %s", name, d.Reason, d.Why, strings.Join(d.Instead, ", "))
	}
}

// run carries the case's steps out and compares what comes of each: with the
// model, and with the recording in all that the template doesn't deviate in.
func (r *vectorRun) run() {
	for i := range r.c.Events {
		got, model := r.step(&r.c.Events[i]), r.model.step(i)
		want := r.adjust(r.c.Expect[i], got)
		for _, part := range stepParts {
			r.compare(part.name, part.of(got), part.of(want), part.of(model))
		}
		if r.t.Failed() {
			r.t.Logf("at step %d: %s", i, mustJSON(r.c.Events[i]))
			return
		}
	}
	r.compareFinal()
}

// stepParts are what comes of a step. Of an error and of how many blocks were
// lifted only the presence is compared: classes of exceptions are Python's, and
// where the library counted copies we count blocks.
var stepParts = []struct {
	name string
	of   func(vectorResult) any
}{
	{"matches", func(v vectorResult) any { return v.Matches }},
	{"applied", func(v vectorResult) any { return v.Applied }},
	{"emitted", func(v vectorResult) any { return v.Emitted }},
	{"deny", func(v vectorResult) any { return v.Deny }},
	{"check", func(v vectorResult) any { return v.Check }},
	{"error", func(v vectorResult) any { return v.Error != "" }},
	{"count", func(v vectorResult) any { return v.Count != nil && *v.Count > 0 }},
}

func (r *vectorRun) compare(part string, got, recorded, model any) {
	r.t.Helper()
	r.same(part+", by the model", got, model)
	if !r.d.differs(part) {
		r.same(part+", as recorded", got, recorded)
	}
}

// adjust leaves out of the recorded result what differs everywhere:
//   - metadata.username now also reads user.name (deviation 20);
//   - a Python exception class is only compared for its presence;
//   - enforcement events of ingress are compared as decisions (deny), for which
//     the checker's hooks are the source.
func (r *vectorRun) adjust(want, got vectorResult) vectorResult {
	want.Matches = slices.Clone(want.Matches)
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
	want.Emitted = r.firstOnly(got.Emitted, want.Emitted)
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
		if r.seen[key] && !slices.ContainsFunc(got, func(g vectorEmitted) bool { return mustJSON(g) == mustJSON(e) }) {
			continue
		}
		r.seen[key] = true
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
