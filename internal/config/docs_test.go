package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/strictconfig"
)

var update = flag.Bool("update", false, "write docs/reference/configuration.md anew")

const (
	docsFile = "../../docs/reference/configuration.md"
	// marker ends what is written by hand.
	marker = "-run TestReference -update -->\n"
)

// TestReference: the reference says what the schema says, which
// TestSchemaHasTheKeys holds to what is read.
func TestReference(t *testing.T) {
	t.Parallel()
	text := readFile(t, docsFile)
	byHand, have, ok := strings.Cut(text, marker)
	if !ok {
		t.Fatal("the marker is gone")
	}
	want := "\n" + strings.TrimRight(referencePage(readSchema(t)), "\n") + "\n"
	if *update {
		if err := os.WriteFile(docsFile, []byte(byHand+marker+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Errorf("%s is out of date: go test ./internal/config -run TestReference -update", docsFile)
	}
}

// TestDocsExamples: what the page shows as errors is what there is.
func TestDocsExamples(t *testing.T) {
	t.Parallel()
	_, err := parse("detector.yaml", []byte(strings.Repeat("\n", 9)+"rules:\n- name: brute_force_login\n  threshold: five\n\nstream:\n  batchsize: 9\n"), options("WARDSTREAM_IPV6_PREFIX=8"))
	if err == nil || !strings.Contains(readFile(t, docsFile), "```\n"+err.Error()+"\n```") {
		t.Errorf("the page does not show\n%v", err)
	}
}

func referencePage(root *schemaNode) string {
	var b strings.Builder
	var plain []string
	fields := strictconfig.FieldsOf(reflect.TypeFor[Config]())
	for _, f := range fields {
		if n := root.Properties[f.Name]; n.Properties == nil && !slices.Contains([]string{"rules", "actions", "scopes"}, f.Name) {
			plain = append(plain, row(f.Name, n))
		}
	}
	table(&b, "Top level", "", plain)
	for _, f := range fields {
		n := root.Properties[f.Name]
		switch {
		case n.Properties != nil:
			table(&b, "`"+f.Name+"`", n.Description, rows(n, reflect.New(reflect.TypeFor[Config]().FieldByIndex(f.Index).Type).Elem(), ""))
			if hooks := n.Properties["webhooks"]; hooks != nil {
				table(&b, "`events.webhooks`", hooks.Description, rows(hooks.Items, reflect.New(reflect.TypeFor[Webhook]()).Elem(), ""))
			}
		case f.Name == "scopes":
			table(&b, "`scopes`", n.Description, rows(n.Items, reflect.New(reflect.TypeFor[Scope]()).Elem(), ""))
		case f.Name == "actions":
			table(&b, "`actions`", n.Description, rows(root.Defs["action"], reflect.New(reflect.TypeFor[Action]()).Elem(), ""))
		case f.Name == "rules":
			fmt.Fprintf(&b, "### `rules`\n\n%s Every rule takes `name`, `type`, `action` (as `actions` below has it) and these as well:\n\n", n.Description)
			writeRules(&b, root)
		}
	}
	return b.String()
}

// writeRules writes the tables of the rules, what they all have first.
func writeRules(b *strings.Builder, root *schemaNode) {
	options := strictconfig.FieldsOf(reflect.TypeFor[rules.MatchOptions]())
	var shared []string
	for _, f := range options {
		n := *root.Defs[rules.Names()[0]].Properties[f.Name]
		n.Default = nil
		shared = append(shared, row(f.Name, &n))
	}
	rowsOf(b, shared)
	for _, name := range rules.Types() {
		n := root.Defs[name]
		fmt.Fprintf(b, "#### `%s`\n\n%s Severity %v, message \"%v\".\n\n", name, n.Description, n.Properties["severity"].Default, n.Properties["message"].Default)
		var own []string
		for _, key := range ordered(n) {
			if !slices.ContainsFunc(options, func(f strictconfig.Field) bool { return f.Name == key }) && key != "name" && key != "type" && key != "action" {
				own = append(own, row(key, n.Properties[key]))
			}
		}
		if len(own) > 0 {
			rowsOf(b, own)
		}
	}
}

// ordered returns the keys of a rule, what it counts first.
func ordered(n *schemaNode) []string {
	order := []string{"threshold", "window", "group_by", "distinct", "field", "fields", "model_labels", "actor", "ignore_status_codes", "success_clears", "paths", "decision", "block_ttl"}
	var out, rest []string
	for _, key := range order {
		if n.Properties[key] != nil {
			out = append(out, key)
		}
	}
	for key := range n.Properties {
		if !slices.Contains(order, key) {
			rest = append(rest, key)
		}
	}
	slices.Sort(rest)
	return append(out, rest...)
}

func rows(n *schemaNode, v reflect.Value, path string) []string {
	var out []string
	for _, f := range strictconfig.FieldsOf(v.Type()) {
		p := n.Properties[f.Name]
		if p.Properties != nil {
			out = append(out, rows(p, v.FieldByIndex(f.Index), path+f.Name+".")...)
			continue
		}
		out = append(out, row(path+f.Name, p))
	}
	return out
}

func table(b *strings.Builder, title, about string, rows []string) {
	fmt.Fprintf(b, "### %s\n\n", title)
	if about != "" {
		fmt.Fprintf(b, "%s\n\n", about)
	}
	rowsOf(b, rows)
}

func rowsOf(b *strings.Builder, rows []string) {
	b.WriteString("| key | default | values | meaning |\n|---|---|---|---|\n")
	for _, r := range rows {
		b.WriteString(r)
	}
	b.WriteString("\n")
}

func row(key string, n *schemaNode) string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", key, defaultOf(n), valuesOf(n), strings.ReplaceAll(n.Description, "|", "\\|"))
}

func defaultOf(n *schemaNode) string {
	if n.Default == nil {
		return ""
	}
	raw, err := json.Marshal(n.Default)
	if err != nil {
		return err.Error()
	}
	text := string(raw)
	if s, ok := n.Default.(string); ok && s != "" {
		text = s
	}
	return "`" + strings.ReplaceAll(text, `","`, `", "`) + "`"
}

func valuesOf(n *schemaNode) string {
	switch kinds := fmt.Sprint(n.Type); {
	case len(n.enum()) > 0:
		var known []string
		for _, value := range n.enum() {
			if value != "" {
				known = append(known, "`"+value+"`")
			}
		}
		return strings.Join(known, ", ")
	case n.XMinimum != "" && n.Maximum != nil && n.XMinimum != "0s":
		return "0, " + n.XMinimum + " to " + n.XMaximum
	case n.XMinimum != "":
		return n.XMinimum + " to " + n.XMaximum
	case n.Minimum != nil:
		return n.Minimum.String() + " to " + n.Maximum.String()
	case kinds == "[boolean string]":
		return "`true`, `false`"
	case kinds == "array":
		return "list"
	case kinds == "object":
		return "mapping"
	case kinds == "[string number]":
		return "number"
	}
	return "text"
}
