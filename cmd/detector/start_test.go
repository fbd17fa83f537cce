package main

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// fakeRedis is a server that answers INFO with a text, and everything else with OK. It says what
// it is like where the real one is not available.
func fakeRedis(t *testing.T, info string) string {
	t.Helper()
	return "redis://" + testenv.Listen(t, func(conn net.Conn) { serveInfo(conn, info) })
}

func serveInfo(conn net.Conn, info string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		reply := "+OK\r\n"
		switch strings.ToLower(args[0]) {
		case "hello":
			reply = "-ERR unknown command\r\n"
		case "info":
			reply = fmt.Sprintf("$%d\r\n%s\r\n", len(info), info)
		}
		if _, err := conn.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// readCommand reads an array of bulk strings.
func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readLength(in)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		if _, err := readLength(in); err != nil {
			return nil, err
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		args[i] = strings.TrimSpace(line)
	}
	return args, nil
}

func readLength(in *bufio.Reader) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// TestRunRefusesToStart: what keeps a worker from working is one line that says what to do, without
// a secret, and exit code 2.
func TestRunRefusesToStart(t *testing.T) {
	t.Parallel()
	env, pg, migrated := testenv.Redis(t), testenv.Postgres(t), testenv.Postgres(t)
	locked := testenv.PrivateRedis(t, "--requirepass", "hunter1")
	command(t, nil, "migrate", "--postgres-url", migrated.URL).answers(t, 0)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	other := file(t, "postgres: {table: other_blocks}\n")
	withSecret := func(url string) string { return strings.Replace(url, "redis://", "redis://app:hunter2@", 1) }
	old := fakeRedis(t, "redis_version:6.0.16\r\nredis_mode:standalone\r\n")
	for want, args := range map[string][]string{
		"can't be reached; start it or correct redis.url: ":              {"--redis-url", "redis://app:hunter2@127.0.0.1:1"},
		"Redis 6.0.16 at " + old + " is too old; 6.2 or later is needed": {"--redis-url", old},
		"reports no version": {"--redis-url", fakeRedis(t, "a:b\r\n")},
		"refuses the login; correct user and password in redis.url: ask for its version: WRONGPASS ":  {"--redis-url", withSecret(locked.URL)},
		"wants a login; write redis://user:password@host into redis.url: ask for its version: NOAUTH": {"--redis-url", locked.URL},
		"refuses the login; correct user and password in redis.url":                                   {"--redis-url", withSecret(env.URL)},
		"the database lacks migrations; run detector migrate (":                                       {"--redis-url", env.URL, "--postgres-url", pg.URL},
		"postgres.table: no such table; correct the name: other_blocks":                               {"--redis-url", env.URL, "--postgres-url", migrated.URL, "--config", other},
		"can't be reached; start it or correct postgres.url: ":                                        {"--redis-url", env.URL, "--postgres-url", "postgres://app:hunter2@127.0.0.1:1/x"},
		"has no such database; create it or correct postgres.url: ":                                   {"--redis-url", env.URL, "--postgres-url", noDatabase(pg.URL)},
		"is already in use: pass --http-addr to choose another":                                       {"--redis-url", env.URL, "--http-addr", taken.Addr().String()},
		`--mode: mode: "nonsense" is not one of enforce, observe`:                                     {"--mode", "nonsense"},
		"--redis-url: redis.url: is not a Redis URL":                                                  {"--redis-url", "http://app:hunter2@localhost"},
		"nowhere.yaml":                    {"--config", "nowhere.yaml"},
		`"extra": run takes no arguments`: {"extra"},
		"unknown flag: --nonsense":        {"--nonsense"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(strings.Join(args, " "), "--http-addr") {
				args = append(args, "--http-addr", "127.0.0.1:0")
			}
			r := command(t, nil, append([]string{"run"}, args...)...)
			r.fails(t, want)
			if strings.Contains(r.stderr, "hunter") {
				t.Errorf("it prints the password: %q", r.stderr)
			}
		})
	}
}

// noDatabase is the URL of a database that isn't there.
func noDatabase(url string) string {
	return strings.Replace(url, "/postgres?", "/no_such_database?", 1)
}

// TestConfigurationMistakes: each is a line that names file, line and key.
func TestConfigurationMistakes(t *testing.T) {
	t.Parallel()
	path := file(t, "mode: nonsense\nrules:\n- {name: no_rule}\nstreem: {}\n")
	for _, args := range [][]string{{}, {"run"}, {"check"}, {"migrate"}, {"blocks"}, {"rules", "list"}, {"dead-letters", "list"}} {
		r := command(t, nil, append(args, "--config", path)...)
		lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
		if r.code != 2 || r.stdout != "" || len(lines) != 3 {
			t.Fatalf("%v: exit %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
		}
		for i, want := range []string{":1: mode: ", ":3: rules[0].name: ", ":4: streem: "} {
			if !strings.HasPrefix(lines[i], "detector: "+path+want) {
				t.Errorf("%v: line %q, want %q", args, lines[i], want)
			}
		}
	}
}

// TestWithoutCommandRuns: without a command it is the worker; standard output is for enforcement
// events alone, and warnings about the configuration are in the log.
func TestWithoutCommandRuns(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "log: {format: text, level: warn}\n")
	w := in.launch()
	w.cmd.Args = append([]string{program("detector")}, append(w.cmd.Args[2:], "--log-format", "json", "--log-level", "info")...)
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.follow(stdout)
	if status, body := w.get("/healthz"); status != 200 {
		t.Errorf("healthz: %d %q", status, body)
	}
	w.stop()
	log := w.log.String()
	for _, want := range []string{`"version":"v1.2.3-test"`, `"warning":"postgres.url is not set: permanent blocks are kept in Redis for 1h only`, `"warning":"rules is empty`, `"msg":"stopping; a second signal stops at once"`, `"msg":"stopped"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
	if out := w.out.String(); out != "" {
		t.Errorf("stdout %q", out)
	}
}

// TestLogFormatText: for people; debug lines only where they are asked for.
func TestLogFormatText(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "log: {format: text, level: warn}\n")
	cmd := in.launch().cmd
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	if !lines.Scan() || !strings.Contains(lines.Text(), `level=WARN msg="the configuration is worth a second look" warning=`) {
		t.Errorf("the first line is %q, %v", lines.Text(), lines.Err())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}
