package detectorcli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/uncounted"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// A probe shows that a command reads a flag: after the same arguments, the two ends of the line
// have different outcomes.
type probe struct{ args, one, other string }

// TestEveryFlagShownIsRead goes through every command and every flag in its help. A flag that
// changes nothing must not be there: declare it only in commands that read it.
func TestEveryFlagShownIsRead(t *testing.T) {
	t.Parallel()
	all := probes(fixture(t))
	root := app{App: cli.App{Name: "detector"}, kill: t.Context()}.root()
	eachCommand(root, func(cmd *cobra.Command) {
		line := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "detector"), " ")
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if readsAll(line) && settingOf(f.Name) || line == "" && f.Name == "config" {
				return
			}
			p, ok := all[line+" --"+f.Name]
			if !ok {
				t.Errorf("add to the probes of this test what --%s changes about detector %s", f.Name, line)
				return
			}
			t.Run(line+" --"+f.Name, func(t *testing.T) {
				t.Parallel()
				one, again, other := outcome(t, line, p.args, p.one), outcome(t, line, p.args, p.one), outcome(t, line, p.args, p.other)
				if one != again {
					t.Fatalf("%q differs from itself:\n%s\n%s", p.one, one, again)
				}
				if one == other {
					t.Errorf("detector %s %s: %q and %q make no difference:\n%s", line, p.args, p.one, p.other, one)
				}
			})
		})
	})
}

// readsAll reports whether the command passes the whole configuration to a worker, which logs what
// it got.
func readsAll(line string) bool { return line == "" || line == "run" }

func settingOf(flag string) bool { return len(pick(flag)) == 1 }

func eachCommand(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		if c.Name() != "completion" && c.Name() != "help" { // cobra's own
			eachCommand(c, do)
		}
	}
}

// momentary is what differs between two runs of the same command.
var momentary = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:]+Z|"id":"[0-9a-f]+"|127\.0\.0\.1:\d{4,}|-p \d+|"(?:[a-z_]*seconds|requests|allowed|denied|hostile_events)":[\d.]+`)

func outcome(t *testing.T, line, args, end string) string {
	t.Helper()
	words := strings.Fields(line + " " + args + " " + end)
	ctx := t.Context()
	if line == "dev" { // which would run until it is interrupted
		interrupted, cancel := context.WithCancel(ctx)
		cancel()
		ctx = interrupted
	}
	code, stdout, stderr := commandLine(ctx, nil, words...)
	return momentary.ReplaceAllString(fmt.Sprintf("exit %d\n%s\n%s", code, stdout, stderr), "…")
}

// A stage is what the probes find in Redis, and in files.
type stage struct {
	redis          string // the flag of a server that answers
	postgres       string // the flag of a migrated database
	prefix, empty  string // key prefixes, one with a block of user 42
	written        string // a key prefix that probes may write blocks to; none may read it
	letters        string // a stream with a dead letter
	text           string // a key that is not a stream
	broken, manual string // files with a configuration: one with a mistake, one with an own rule
}

func fixture(t *testing.T) stage {
	t.Helper()
	env, dir := testenv.Redis(t), t.TempDir()
	s := stage{
		redis: "--redis-url " + env.URL, postgres: "--postgres-url " + testenv.Postgres(t).URL, prefix: env.Prefix + "-a", empty: env.Prefix + "-b", written: env.Prefix + "-c",
		letters: env.Prefix + "-letters", text: env.Prefix + "-text",
		broken: filepath.Join(dir, "broken.yaml"), manual: filepath.Join(dir, "own.yaml"),
	}
	for path, text := range map[string]string{s.broken: "mode: nonsense\n", s.manual: "rules: [{name: repeated_client_error}]\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal([]uncounted.Tally{{EventType: "odd.event", Count: 1, Stream: "s", ID: "1-1", Reason: "no_rule", Last: time.Now()}})
	if err != nil {
		t.Fatal(err)
	}
	pipe := env.Client.Pipeline()
	pipe.Set(t.Context(), s.text, "x", time.Hour)
	pipe.Set(t.Context(), rediskey.Keys{Prefix: s.prefix}.Uncounted("worker"), list, time.Hour)
	pipe.Set(t.Context(), s.text+":dead", "x", time.Hour)
	pipe.Do(t.Context(), "XADD", s.letters, "1-1", "event_type", "x")
	pipe.Do(t.Context(), "XADD", s.letters+":dead", "1-1", "event_type", "x")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := outcome(t, "migrate", s.postgres, ""); !strings.HasPrefix(out, "exit 0") {
		t.Fatal(out)
	}
	if out := outcome(t, "block", s.redis+" --key-prefix "+s.prefix, "user 42"); !strings.HasPrefix(out, "exit 0") {
		t.Fatal(out)
	}
	return s
}

// probes returns what each flag changes, by command and flag.
func probes(s stage) map[string]probe {
	long := strings.Repeat("x", maxNote+1)
	wrongPort := func(scheme string) (one, other string) { return scheme + "://127.0.0.1:1", scheme + "://127.0.0.1:2" }
	redis1, redis2 := wrongPort("--redis-url redis")
	postgres1, postgres2 := wrongPort("--postgres-url postgres")
	p := map[string]probe{
		" --version": {"", "", "--version"}, "version --output": {"", "", "-o json"},

		"run --config":        {"", "--config " + s.broken, "--config gone.yaml"},
		"migrate --config":    {"", "--config " + s.broken, "--config gone.yaml"},
		"check --config":      {redis1, "", "--config " + s.manual},
		"block --config":      {redis1 + " user 1", "", "--config " + s.broken},
		"unblock --config":    {redis1 + " user 1", "", "--config " + s.broken},
		"blocks --config":     {redis1, "", "--config " + s.broken},
		"rules list --config": {"", "", "--config " + s.manual},

		"check --redis-url":   {"", redis1, redis2},
		"block --redis-url":   {"user 1", redis1, redis2},
		"unblock --redis-url": {"user 1", redis1, redis2},
		"blocks --redis-url":  {"", redis1, redis2},

		"migrate --postgres-url": {"", postgres1, postgres2},
		"check --postgres-url":   {s.redis, postgres1, postgres2},
		"block --postgres-url":   {s.redis + " --key-prefix " + s.written + " user 1", postgres1, postgres2},
		"unblock --postgres-url": {s.redis + " --key-prefix " + s.empty + " user 1", postgres1, postgres2},
		"blocks --postgres-url":  {s.redis, postgres1, postgres2},

		"check --key-prefix":   {s.redis + " --consumer worker", "--key-prefix " + s.prefix, "--key-prefix " + s.empty},
		"block --key-prefix":   {s.redis + " user 42 --ttl 1m", "--key-prefix " + s.prefix, "--key-prefix " + s.written},
		"unblock --key-prefix": {s.redis + " user 43", "--key-prefix " + s.empty, "--key-prefix {a}{b}"},
		"blocks --key-prefix":  {s.redis, "--key-prefix " + s.prefix, "--key-prefix " + s.empty},

		"check --mode":      {redis1, "", "--mode observe"},
		"rules list --mode": {"--config " + s.manual, "", "--mode observe"},
		"check --streams":   {s.redis, "--streams " + s.letters, "--streams " + s.empty},
		"unblock --streams": {s.redis + " --key-prefix " + s.empty + " user 1", "--streams " + s.letters, "--streams " + s.text},
		"check --group":     {s.redis + " --streams " + s.letters, "--group a", "--group b"},
		"check --consumer":  {s.redis + " --key-prefix " + s.prefix, "--consumer worker", "--consumer other"},

		"migrate --output":    {s.postgres, "", "-o json"},
		"check --output":      {redis1, "", "-o json"},
		"block --output":      {s.redis + " --key-prefix " + s.prefix + " user 42 --ttl 1m", "", "-o json"},
		"unblock --output":    {s.redis + " --key-prefix " + s.empty + " user 9", "", "-o json"},
		"blocks --output":     {s.redis + " --key-prefix " + s.empty, "", "-o json"},
		"rules list --output": {"", "", "-o json"},

		"block --ttl":     {redis1 + " user 1", "", "--ttl 0"},
		"block --reason":  {redis1 + " user 1", "", "--reason " + long},
		"block --by":      {redis1 + " user 1", "", "--by " + long},
		"block --status":  {redis1 + " user 1", "", "--status 200"},
		"block --message": {redis1 + " user 1", "", "--message " + long},
		"block --yes":     {redis1 + " ip 203.0.113.9", "", "--yes"},

		"unblock --reason": {redis1 + " user 1", "", "--reason " + long},
		"unblock --by":     {redis1 + " user 1", "", "--by " + long},

		"blocks --scope":   {s.redis + " --key-prefix " + s.prefix, "--scope user", "--scope ip"},
		"blocks --rule":    {s.redis + " --key-prefix " + s.prefix, "--rule manual", "--rule other"},
		"blocks --limit":   {redis1, "", "--limit -1"},
		"rules list --all": {"", "", "--all"},

		"dead-letters list --stream":      {redis1, "", "--stream other"},
		"dead-letters list --limit":       {redis1, "", "--limit -1"},
		"dead-letters list --output":      {s.redis + " --streams " + s.letters, "", "-o json"},
		"dead-letters requeue --set":      {redis1 + " 1-1", "", "--set nonsense"},
		"dead-letters requeue --unset":    {redis1 + " 1-1 2-2", "", "--unset nonsense"},
		"dead-letters requeue --output":   {s.redis + " 9-9", "", "-o json"},
		"dead-letters purge --output":     {s.redis + " 9-9", "", "-o json"},
		"dead-letters purge --older-than": {redis1, "", "--older-than -1s"},
		"dead-letters requeue --stream":   {redis1 + " 1-1", "", "--stream other"},
		"dead-letters purge --stream":     {redis1 + " 1-1", "", "--stream other"},
		"dead-letters requeue --all":      {redis1, "", "--all"},
		"dead-letters purge --all":        {redis1, "", "--all"},
		"dead-letters requeue --yes":      {redis1 + " --all", "", "--yes"},
		"dead-letters purge --yes":        {redis1 + " --all", "", "--yes"},
		"demo --duration":                 {"", "--duration 1ms", "--duration 2ms"},
		"demo --seed":                     {"--duration 1s -o json --quiet", "--seed 1", "--seed 2"},
		"demo --quiet":                    {"--duration 1s -o json", "--quiet", ""},
		"demo --verbose":                  {"--duration 1s -o json --quiet", "", "--verbose"},
		"demo --output":                   {"--duration 1s --quiet", "-o json", ""},
		"dev --config":                    {"", "--config gone.yaml", "--config " + s.broken},
		"dev --redis-addr":                {"", "--redis-addr 127.0.0.1:x", "--redis-addr 127.0.0.1:y"},
		"dev --ingress-addr":              {"--redis-addr 127.0.0.1:0", "--ingress-addr 127.0.0.1:x", "--ingress-addr 127.0.0.1:y"},
		"dev --verbose":                   {"--redis-addr 127.0.0.1:0 --ingress-addr 127.0.0.1:0", "", "--verbose"},
		"dev --output":                    {"--redis-addr 127.0.0.1:0 --ingress-addr 127.0.0.1:0", "", "-o json"},
	}
	for _, verb := range []string{"list", "requeue 1-1", "purge 1-1"} {
		line, args, _ := strings.Cut(verb, " ")
		line = "dead-letters " + line
		p[line+" --config"] = probe{redis1 + " " + args, "", "--config " + s.broken}
		p[line+" --redis-url"] = probe{args, redis1, redis2}
		p[line+" --streams"] = probe{s.redis + " " + strings.Replace(args, "1-1", "9-9", 1), "--streams " + s.letters, "--streams " + s.text}
	}
	return p
}
