package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/testenv"
)

// programs is where TestMain built detector and ingress-check.
var programs string

func TestMain(m *testing.M) {
	built := func(dir string) { programs = dir }
	os.Exit(testenv.MainWithPrograms(m, built, raceFlag, "-ldflags", "-X main.version=v1.2.3-test", "../detector", "../ingress-check"))
}

func program(name string) string { return filepath.Join(programs, name) }

// patience is how long tests wait for what is bound to happen, on a busy machine.
const patience = 90 * time.Second

// A run is what came of one command.
type run struct {
	code           int
	stdout, stderr string
}

// command runs the detector with nothing in its environment but env, in a directory without a
// configuration file.
func command(t testing.TB, env []string, args ...string) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program("detector"), args...)
	cmd.Env, cmd.Dir = append([]string{}, env...), t.TempDir()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// fails checks that the run is an error of one line that holds want.
func (r run) fails(t testing.TB, want string) {
	t.Helper()
	if r.code != 2 || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "detector: ") || !strings.Contains(r.stderr, want) {
		t.Errorf("exit %d, stdout %q, stderr %q; want exit 2 and one line with %q", r.code, r.stdout, r.stderr, want)
	}
}

// answers checks the exit code and that there was no error.
func (r run) answers(t testing.TB, code int) run {
	t.Helper()
	if r.code != code || r.stderr != "" {
		t.Fatalf("exit %d, want %d; stdout %q, stderr %q", r.code, code, r.stdout, r.stderr)
	}
	return r
}

// says checks what standard output holds.
func (r run) says(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(r.stdout, w) {
			t.Errorf("stdout %q lacks %q", r.stdout, w)
		}
	}
}

// decode decodes standard output, which must be one line of JSON that holds nothing that v doesn't.
func (r run) decode(t testing.TB, v any) {
	t.Helper()
	if strings.Count(r.stdout, "\n") != 1 {
		t.Fatalf("stdout is not one line: %q", r.stdout)
	}
	dec := json.NewDecoder(strings.NewReader(r.stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("decode %q: %v", r.stdout, err)
	}
}

// file writes a configuration file and returns its path.
func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "detector.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An installation is what the commands of one test work on.
type installation struct {
	t     testing.TB
	redis *testenv.RedisEnv
	env   []string
	file  string
	audit bool // its streams have the names that they have by default
}

// install configures an installation on a Redis, with keys, streams and a group of its own, and
// what text adds. Postgres, if any, is migrated.
func install(t testing.TB, redis *testenv.RedisEnv, postgres *testenv.PostgresEnv, text string) *installation {
	t.Helper()
	in := &installation{t: t, redis: redis, env: []string{"WARDSTREAM_REDIS_URL=" + redis.URL}}
	in.file = file(t, "key_prefix: "+redis.Prefix+"\nhttp: {addr: '127.0.0.1:0'}\nevents: {stream: '"+in.enforcement()+"'}\n"+text)
	in.env = append(in.env, "WARDSTREAM_STREAM_NAMES="+in.stream())
	if postgres != nil {
		in.env = append(in.env, "WARDSTREAM_POSTGRES_URL="+postgres.URL)
		in.command("migrate").answers(t, 0)
	}
	return in
}

func (in *installation) stream() string      { return in.named("events") }
func (in *installation) enforcement() string { return in.named("enforcement") }

func (in *installation) named(name string) string {
	if in.audit {
		return "audit:" + name
	}
	return in.redis.Prefix + ":" + name
}

func (in *installation) command(args ...string) run {
	in.t.Helper()
	return command(in.t, in.env, append(args, "--config", in.file)...)
}

// publish adds an event to the stream and returns its ID.
func (in *installation) publish(fields ...string) string {
	in.t.Helper()
	return in.add(in.stream(), fields...)
}

func (in *installation) add(stream string, fields ...string) string {
	in.t.Helper()
	args := []any{"XADD", stream, "*"}
	for _, f := range fields {
		args = append(args, f)
	}
	id, err := in.redis.Client.Do(context.Background(), args...).Text()
	if err != nil {
		in.t.Fatal(err)
	}
	return id
}

// enforcementEvents returns the enforcement events of the stream.
func (in *installation) enforcementEvents() []map[string]any {
	in.t.Helper()
	entries, err := in.redis.Client.XRange(context.Background(), in.enforcement(), "-", "+").Result()
	if err != nil {
		in.t.Fatal(err)
	}
	events := make([]map[string]any, len(entries))
	for i, e := range entries {
		var event struct{ Attributes map[string]any }
		if err := json.Unmarshal([]byte(e.Values["event"].(string)), &event); err != nil {
			in.t.Fatal(err)
		}
		events[i] = event.Attributes
	}
	return events
}

// decodeLoosely decodes JSON of which v holds a part.
func decodeLoosely(t testing.TB, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("decode %.200q: %v", text, err)
	}
}
