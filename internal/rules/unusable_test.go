package rules_test

import (
	"fmt"
	"testing"

	"github.com/wardstream/wardstream/internal/rules"
)

// reasons are why each rule can't use an event, "rule: reason", in the set's order.
func (d *detection) reasons(fields ...string) []string {
	d.t.Helper()
	d.n++
	e, err := d.decoder.Decode("s", fmt.Sprintf("1-%d", d.n), fields)
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for rule := range d.set.For(&e) {
		if len(rule.Plan(&e, nil)) > 0 {
			continue
		}
		if reason := rule.(rules.Explainer).Unusable(&e); reason != "" {
			out = append(out, rule.Name()+": "+string(reason))
		}
	}
	return out
}

func TestUnusableSaysWhyARuleCannotUseAnEvent(t *testing.T) {
	t.Parallel()
	const address = "203.0.113.9"
	for _, c := range []struct {
		rule, params string
		fields       []string
		want         string
	}{
		{"brute_force_login", "", []string{"event_type", "auth.login.failed", "source.address", address}, ""},
		{"brute_force_login", "", []string{"event_type", "auth.login.failed"}, "no_scope"},
		{"brute_force_login", "", []string{"event_type", "auth.login.failed", "source.address", " "}, "no_scope"},
		{"brute_force_login", "", []string{"event_type", "auth.login.failed", "source.address", "203.0.113.9, 10.0.0.5"}, "bad_address"},
		{"brute_force_login", "", []string{"event_type", "auth.login.failed", "source.address", "host.example.com"}, "bad_address"},
		{"brute_force_login", "", []string{"event_type", "auth.login.success", "source.address", address}, "missing_attribute"},
		{"brute_force_login", "success_clears: address", []string{"event_type", "auth.login.success", "source.address", address}, ""},
		{"brute_force_login", "success_clears: never", []string{"event_type", "auth.login.success", "source.address", address}, ""},
		{"login_throttle", "", []string{"event_type", "audit.http.request.pre", "url.path", "/login"}, "no_scope"},
		{"login_throttle", "", []string{"event_type", "audit.http.request.pre", "url.path", "/home"}, ""},
		{"repeated_client_error", "", []string{"event_type", "http.response.client_error", "source.address", "unknown"}, "bad_address"},
		{"repeated_client_error", "", []string{"event_type", "http.response.client_error", "source.address", address, "status", "429"}, ""},
		{"repeated_client_error", "", []string{"event_type", "http.response.success"}, ""},
		{"repeated_route", "", []string{"event_type", "audit.http.request.pre", "source.address", address}, "missing_attribute"},
		{"repeated_route", "paths: [^/x]", []string{"event_type", "audit.http.request.pre", "source.address", address, "url.path", "/y"}, ""},
		{"resource_enumeration", "", []string{"event_type", "http.response.success", "http.route", "/u/{id}", "url.path", "/u/1"}, "no_scope"},
		{"resource_enumeration", "", []string{"event_type", "http.response.success", "source.address", address, "http.route", "/a", "url.path", "/a"}, ""},
		{"request_body_threshold", "", []string{"event_type", "audit.http.request.pre", "request.body.amount", "a lot"}, "wrong_shape"},
		{"request_body_threshold", "", []string{"event_type", "audit.http.request.pre", "request.body", `{"amount": [20000]}`}, "wrong_shape"},
		{"request_body_threshold", "", []string{"event_type", "audit.http.request.pre", "request.body", `{"total": 1}`}, ""},
		{"request_body_threshold", "", []string{"event_type", "audit.http.request.pre", "request.body.amount", "5"}, ""},
		{"request_body_threshold", "", []string{"event_type", "audit.http.request.pre"}, ""},
		{"sensitive_field_change", "fields: [role]", []string{"event_type", "model.update"}, "missing_attribute"},
		{"sensitive_field_change", "fields: [role]", []string{"event_type", "model.update", "changed_fields", `[{"field": "role"}, "name"]`}, ""},
		{"sensitive_field_change", "fields: [role]", []string{"event_type", "model.update", "changed_fields", `[]`}, ""},
		{"sensitive_field_change", "fields: [role]", []string{"event_type", "model.update", "changed_fields", `[["role"]]`}, "wrong_shape"},
		{"sensitive_field_change", "fields: [role]", []string{"event_type", "model.update", "changed_fields", "name"}, ""},
		{"sensitive_field_change", "{fields: [role], actor: other}", []string{"event_type", "model.update", "changed_fields", "name", "user.id", "7"}, "missing_attribute"},
		{"sensitive_field_change", "{fields: [role], model_labels: [auth.user]}", []string{"event_type", "model.update", "model_label", "shop.order"}, ""},
		{"suspicious_proxy_header", "", []string{"event_type", "x", "proxy_headers", "203.0.113.9"}, "wrong_shape"},
		{"suspicious_proxy_header", "", []string{"event_type", "x", "proxy_headers", "{}"}, ""},
		{"suspicious_proxy_header", "", []string{"event_type", "x"}, ""},
	} {
		d := detect(t, spec(c.rule, c.params))
		var want []string
		if c.want != "" {
			want = []string{c.rule + ": " + c.want}
		}
		if got := d.reasons(c.fields...); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s {%s} %q: %v, want %v", c.rule, c.params, c.fields, got, want)
		}
	}
}

func TestEveryBuiltinExplainsUnusableEvents(t *testing.T) {
	t.Parallel()
	for _, name := range rules.Names() {
		params := ""
		if name == "sensitive_field_change" {
			params = "fields: [email]"
		}
		for _, rule := range detect(t, spec(name, params)).set.Rules() {
			if _, ok := rule.(rules.Explainer); !ok {
				t.Errorf("%s does not say why it can't use an event", name)
			}
		}
	}
}

func TestSetAsked(t *testing.T) {
	t.Parallel()
	set := rules.NewSet(picky{"listed", rules.EventFilter{Types: []string{"a.b"}}}, picky{"prefix", rules.EventFilter{Prefixes: []string{"c."}}}, picky{"any", rules.EventFilter{Any: true}})
	for typ, want := range map[string]bool{"a.b": true, "c.d": true, "a.c": false, "c": false, "": false, "A.B": false} {
		if got := set.Asked(typ); got != want {
			t.Errorf("%q is asked for: %t, want %t", typ, got, want)
		}
	}
}
