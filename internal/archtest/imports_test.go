// Package archtest checks the architecture: which package may import
// whom, how large things get, what they are called, and why each dependency is there.
package archtest

import (
	"slices"
	"strings"
	"testing"
)

// allowed says which of our packages a package may import, outside its tests. It is kept exact: a
// package that is not here fails the test, and so does an allowance that is no longer used.
var allowed = map[string][]string{
	"cmd/detector":      {"internal/cli", "internal/cli/detectorcli"},
	"cmd/ingress-check": {"internal/cli", "internal/cli/ingresscli"},

	// The public library: the vocabulary imports nothing of ours.
	"pkg/checker":               {},
	"pkg/checker/grpccheck":     {"pkg/checker"},
	"pkg/checker/httpcheck":     {"pkg/checker"},
	"pkg/checker/mirror":        {"pkg/checker", "pkg/checker/redislookup", "internal/rediskey", "internal/wire"},
	"pkg/checker/otelcheck":     {"pkg/checker"},
	"pkg/checker/pglookup":      {"pkg/checker"},
	"pkg/checker/promcheck":     {"pkg/checker"},
	"pkg/checker/redislookup":   {"pkg/checker", "internal/redisconn", "internal/rediskey", "internal/redisurl", "internal/wire"},
	"pkg/checker/report":        {"pkg/checker", "internal/wire"},
	"pkg/publisher":             {},
	"pkg/publisher/httppublish": {"pkg/checker", "pkg/publisher"},

	// What is pure: values in, values out.
	"internal/event":   {"pkg/checker"},
	"internal/match":   {"internal/event", "internal/spelling"},
	"internal/window":  {},
	"internal/wire":    {"pkg/checker", "internal/event", "internal/rediskey"},
	"internal/rules":   {"pkg/checker", "internal/event", "internal/match", "internal/window"},
	"internal/enforce": {"pkg/checker", "internal/event", "internal/rules", "internal/window"},

	// What talks to Redis and Postgres.
	"internal/consumer":           {"internal/deadletter", "internal/redisconn", "internal/rediskey", "internal/redislua", "internal/redisurl", "internal/resp"},
	"internal/deadletter":         {"internal/rediskey", "internal/redislua", "internal/resp"},
	"internal/cooldown":           {"internal/rediskey"},
	"internal/uncounted":          {"internal/event", "internal/rediskey", "internal/rules"},
	"internal/resp":               {},
	"internal/redislua":           {},
	"internal/rediskey":           {"pkg/checker"}, // the names of keys, for all of these alike
	"internal/sinks":              {"internal/wire"},
	"internal/sinks/sinkset":      {"internal/config", "internal/sinks", "internal/wire"},
	"internal/streamclock":        {"internal/redislua", "internal/wire"},
	"internal/store":              {"pkg/checker", "internal/wire"},
	"internal/store/memstore":     {"pkg/checker", "internal/store", "internal/wire"},
	"internal/store/pgstore":      {"pkg/checker", "internal/store", "internal/wire"},
	"internal/store/redisstore":   {"pkg/checker", "pkg/checker/redislookup", "internal/rediskey", "internal/redislua", "internal/store", "internal/wire"},
	"internal/store/tiered":       {"pkg/checker", "internal/store"},
	"internal/window/memwindow":   {"internal/window"},
	"internal/window/rediswindow": {"internal/rediskey", "internal/redislua", "internal/window"},
	"internal/postgresurl":        {}, // for both programs alike
	"internal/redisconn":          {}, // what go-redis leaves out, for every client alike
	"internal/certfile":           {},
	"internal/redisurl":           {"internal/certfile"},
	"internal/lenienthttp":        {}, // what proxies ask over: net/http answers some requests by itself
	"internal/spelling":           {},
	"internal/storeurl":           {"internal/postgresurl", "internal/redisurl"},
	"internal/strictconfig":       {"internal/spelling"}, // knows no setting
	"schema":                      {},

	// What puts it together.
	"internal/config": {"pkg/checker", "internal/consumer", "internal/enforce", "internal/event", "internal/match", "internal/rediskey", "internal/redisurl", "internal/rules", "internal/spelling", "internal/storeurl", "internal/strictconfig", "internal/wire"},
	"internal/backends": {
		"pkg/checker", "internal/config", "internal/consumer", "internal/event", "internal/postgresurl", "internal/store", "internal/store/pgstore",
		"internal/store/redisstore", "internal/store/tiered", "schema",
	},
	"internal/detector": {
		"pkg/checker", "internal/backends", "internal/config", "internal/consumer", "internal/cooldown", "internal/enforce",
		"internal/event", "internal/redisconn", "internal/rediskey", "internal/rules", "internal/sinks", "internal/sinks/sinkset",
		"internal/store", "internal/store/tiered", "internal/streamclock", "internal/uncounted", "internal/window",
		"internal/window/rediswindow", "internal/wire",
	},
	"internal/operator": {
		"pkg/checker", "internal/backends", "internal/config", "internal/enforce", "internal/event", "internal/sinks", "internal/sinks/sinkset",
		"internal/spelling", "internal/store", "internal/streamclock", "internal/wire",
	},
	"internal/ingress": {
		"pkg/checker", "pkg/checker/httpcheck", "pkg/checker/mirror", "pkg/checker/pglookup", "pkg/checker/redislookup",
		"pkg/checker/report", "pkg/publisher", "internal/certfile", "internal/lenienthttp", "internal/postgresurl", "internal/redisconn",
		"internal/rediskey", "internal/redisurl", "internal/storeurl", "internal/wire",
	},
	"internal/cli": {"internal/cli/display", "internal/spelling", "internal/wire"}, // what the commands of both binaries share
	"internal/cli/detectorcli": {
		"pkg/checker", "internal/backends", "internal/cli", "internal/cli/display", "internal/cli/doctor", "internal/config", "internal/deadletter", "internal/demo", "internal/detector",
		"internal/enforce", "internal/event", "internal/operator", "internal/rediskey", "internal/rules", "internal/spelling", "internal/strictconfig",
	},
	"internal/cli/ingresscli": {"pkg/checker", "internal/cli", "internal/ingress", "internal/strictconfig"},
	"internal/cli/display":    {},
	"internal/cli/doctor":     {"internal/backends", "internal/cli/display", "internal/config", "internal/consumer", "internal/deadletter", "internal/rediskey", "internal/rules", "internal/uncounted", "internal/wire"},
	"internal/demo": {
		"pkg/checker", "internal/cli/display", "internal/config", "internal/detector", "internal/ingress", "internal/rediskey",
		"internal/store", "internal/store/memstore", "internal/uncounted", "internal/wire",
	},
	"internal/bench": {},

	// What only tests (and the benchmarks) import.
	"internal/doctest":           {},
	"internal/archtest":          {},
	"internal/cases":             {},
	"internal/chaos":             {},
	"internal/daemontest":        {},
	"internal/mutate":            {},
	"internal/ingress/hostile":   {},
	"internal/soak":              {},
	"internal/benign":            {},
	"internal/store/storetest":   {"pkg/checker", "internal/store", "internal/testenv", "internal/wire", "schema"},
	"internal/testenv":           {},
	"internal/window/windowtest": {"internal/window"},
}

// testOnly may be imported by any test, and otherwise only where allowed says so.
var testOnly = []string{"internal/daemontest", "internal/ingress/hostile", "internal/store/storetest", "internal/testenv", "internal/window/windowtest", "schema"}

// allowedInTests is what tests of a package may import beyond that: themselves, what the package
// may import, testOnly and this.
var allowedInTests = map[string][]string{
	"cmd/detector":      {"pkg/checker", "pkg/checker/redislookup", "pkg/publisher", "internal/rediskey", "internal/wire"}, // what they check a running process with
	"cmd/ingress-check": {"pkg/checker", "internal/rediskey", "internal/wire"},
	"internal/bench": {
		"pkg/checker", "pkg/checker/mirror", "pkg/checker/pglookup", "pkg/checker/redislookup", "internal/ingress",
		"internal/rediskey", "internal/store", "internal/store/redisstore", "internal/wire",
	},
	"internal/cases": {
		"pkg/checker", "pkg/checker/redislookup", "internal/cli", "internal/cli/ingresscli", "internal/config", "internal/detector", "internal/event",
		"internal/rediskey", "internal/wire",
	},
	"internal/cli/detectorcli":  {"internal/cli/ingresscli", "internal/uncounted"},                                                                                          // what its commands find in Redis
	"internal/detector":         {"internal/bench", "internal/deadletter", "internal/operator", "internal/rediskey", "internal/store/pgstore", "internal/store/redisstore"}, // a workload, and where it ends
	"internal/cli/ingresscli":   {"internal/rediskey", "internal/wire"},                                                                                                     // to write blocks
	"internal/doctest":          {"internal/config"},
	"internal/operator":         {"internal/store/redisstore"},
	"internal/sinks":            {"pkg/checker"},
	"internal/ingress":          {"internal/event", "internal/rediskey", "internal/store", "internal/store/redisstore", "internal/strictconfig", "internal/wire"}, // to write blocks, and read what it publishes
	"internal/rules":            {"internal/window/memwindow", "internal/wire"},                                                                                   // from the entry to the match
	"internal/store/pgstore":    {"pkg/checker/pglookup"},
	"internal/store/redisstore": {"internal/rediskey", "internal/store/memstore"},
	"internal/store/tiered":     {"pkg/checker/redislookup", "internal/rediskey", "internal/store/memstore", "internal/store/pgstore", "internal/store/redisstore", "internal/wire"},
	"pkg/checker/grpccheck":     {"pkg/checker/redislookup", "internal/rediskey", "internal/wire"},                                                        // from the call to the block
	"pkg/checker/httpcheck":     {"pkg/checker/redislookup"},                                                                                              // from the request to the block
	"pkg/checker/mirror":        {"pkg/checker/httpcheck", "internal/rediskey", "internal/store", "internal/store/memstore", "internal/store/redisstore"}, // what it mirrors
	"pkg/publisher":             {"pkg/checker/redislookup", "internal/event", "internal/wire"},                                                           // read as the detector does
	"pkg/publisher/httppublish": {"pkg/checker/httpcheck", "pkg/checker/redislookup", "internal/event", "internal/rediskey", "internal/wire"},
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		may, ok := allowed[p.path]
		if !ok {
			t.Errorf("package %s is not in the table of imports: add its line in this file, with the least it needs", p.path)
			continue
		}
		for _, imp := range p.imports {
			if !slices.Contains(may, imp) {
				t.Errorf("package %s imports %s, which the table does not allow", p.path, imp)
			}
		}
		for _, path := range may {
			if !slices.Contains(p.imports, path) {
				t.Errorf("package %s does not import %s any more: take it out of the table", p.path, path)
			}
		}
		mayInTests := slices.Concat(may, testOnly, allowedInTests[p.path], []string{p.path})
		for _, imp := range p.testImports {
			if !slices.Contains(mayInTests, imp) {
				t.Errorf("tests of package %s import %s, which the table does not allow", p.path, imp)
			}
		}
	}
}

// TestImportTableHasNoCycle keeps the table itself honest: a cycle in it would allow what Go
// refuses, and hide which way things look.
func TestImportTableHasNoCycle(t *testing.T) {
	t.Parallel()
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(path string, trail []string)
	visit = func(path string, trail []string) {
		trail = append(trail, path)
		if state[path] == visiting {
			t.Errorf("the table allows a cycle: %s", strings.Join(trail, " → "))
		}
		if state[path] != 0 {
			return
		}
		state[path] = visiting
		for _, next := range allowed[path] {
			if _, ok := allowed[next]; !ok {
				t.Errorf("the table allows %s to import %s, which is not in it", path, next)
			}
			visit(next, trail)
		}
		state[path] = done
	}
	for path := range allowed {
		visit(path, nil)
	}
}

// TestCheckerLinksNoHeavyDependency: importing the checker must not bring a service a database
// driver, a telemetry stack or an RPC framework it did not ask for.
func TestCheckerLinksNoHeavyDependency(t *testing.T) {
	t.Parallel()
	heavy := map[string]string{
		"github.com/jackc/pgx": "pgx", "go.opentelemetry.io": "OpenTelemetry", "github.com/prometheus": "Prometheus",
		"google.golang.org/grpc": "gRPC", "github.com/spf13/cobra": "cobra", "github.com/goccy/go-yaml": "YAML",
	}
	for _, start := range []string{
		"pkg/checker", "pkg/checker/redislookup", "pkg/checker/httpcheck", "pkg/checker/mirror", "pkg/checker/report", "pkg/publisher", "pkg/publisher/httppublish",
	} {
		deps := strings.Fields(goTool(t, ".", "list", "-deps", "./"+start))
		if !slices.Contains(deps, module+"/"+start) {
			t.Fatalf("go list -deps ./%s does not list the package itself", start)
		}
		for _, dep := range deps {
			for prefix, name := range heavy {
				if strings.HasPrefix(dep, prefix) {
					t.Errorf("importing %s links %s (%s)", start, name, dep)
				}
			}
		}
	}
	deps := goTool(t, ".", "list", "-deps", "./pkg/checker")
	if strings.Contains(deps, "redis") {
		t.Error("pkg/checker alone links a Redis client")
	}
}
