package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker/redislookup"
	"github.com/wardstream/wardstream/pkg/publisher"
)

// An estate is a Redis with the users of users.acl, whose administrator comes by a Unix socket and
// sees what all other clients send.
type estate struct {
	*installation

	server *testenv.PrivateRedisEnv
	scheme string // of URLs
	seen   lineBuffer
	others [][2]int // lines that are not of the user whose job is recorded
}

func newEstate(t *testing.T, scheme string, args ...string) *estate {
	t.Helper()
	acl, err := filepath.Abs("../../deploy/redis/users.acl")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ws") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	server := testenv.PrivateRedis(t, append(args, "--aclfile", acl, "--unixsocket", socket)...)
	e := &estate{server: server, scheme: scheme}
	e.server.Client = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Username: "admin", Password: password, MaxRetries: -1})
	t.Cleanup(func() { _ = e.server.Client.Close() })
	e.server.Prefix = "wardstream"
	e.watch(t, socket)
	e.installation = &installation{t: t, redis: &e.server.RedisEnv, audit: true}
	e.file = file(t, "http: {addr: '127.0.0.1:0'}\nevents: {stream: '"+e.enforcement()+"'}\n"+everyJob)
	return e
}

// watch has Redis report the commands that it receives.
func (e *estate) watch(t *testing.T, socket string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "AUTH admin %s\r\nMONITOR\r\n", password); err != nil {
		t.Fatal(err)
	}
	replies := bufio.NewReader(conn)
	for range 2 {
		if line, err := replies.ReadString('\n'); err != nil || line != "+OK\r\n" {
			t.Fatalf("monitor: %q, %v", line, err)
		}
	}
	go e.seen.read(replies, func(string) {})
}

var quotedWord = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// record returns what a user sent while doing a job, scripts included, each command once.
func (e *estate) record(t *testing.T, user string, job func(*testing.T)) [][]any {
	e.t = t
	e.env = append(e.env, "WARDSTREAM_REDIS_URL="+e.url(user))
	before := len(e.seen.all())
	job(t)
	return e.commands(before, e.fence())
}

// fence returns how many lines there are once Redis has reported every command sent before.
func (e *estate) fence() int {
	e.t.Helper()
	text, from := rand.Text(), len(e.seen.all())
	e.server.Client.Echo(e.t.Context(), text)
	e.sees(from, strings.ToLower(text))
	return len(e.seen.all())
}

// meanwhile runs a command of operators within the job of another user.
func (e *estate) meanwhile(args ...string) {
	e.t.Helper()
	from := e.fence()
	env := append(slices.Clone(e.env), "WARDSTREAM_REDIS_URL="+e.url("operator"))
	command(e.t, env, append(args, "--config", e.file)...).answers(e.t, 0)
	e.others = append(e.others, [2]int{from, e.fence()})
}

// commands reads lines. What scripts do follows their call.
func (e *estate) commands(from, to int) [][]any {
	known := map[string]bool{}
	var cmds [][]any
	ours := false // an administrator's
	for at, line := range e.seen.all()[:to] {
		head, _, _ := strings.Cut(line, `"`)
		if !strings.Contains(head, " lua]") {
			ours = strings.Contains(head, "unix:")
		}
		within := func(part [2]int) bool { return part[0] <= at && at < part[1] }
		if ours || at < from || slices.ContainsFunc(e.others, within) {
			continue
		}
		var cmd []any
		for _, quoted := range quotedWord.FindAllString(line, -1) {
			word, err := strconv.Unquote(quoted)
			if err != nil {
				e.t.Fatalf("%s: %v", quoted, err)
			}
			cmd = append(cmd, word)
		}
		if shape := shapeOf(cmd); !known[shape] {
			known[shape] = true
			cmds = append(cmds, cmd)
		}
	}
	return cmds
}

var varying = regexp.MustCompile(`[0-9A-Za-z+/=-]*[0-9][0-9A-Za-z+/=-]*`)

// shapeOf is the same for commands that differ by numbers and identifiers only.
func shapeOf(cmd []any) string {
	return varying.ReplaceAllString(strings.ToLower(fmt.Sprintf("%.300q", cmd)), "#")
}

func (e *estate) url(user string) string {
	return e.scheme + "://" + user + ":" + password + "@" + e.server.Addr
}

// jobs has every program do what it does, as its user. It returns what each sent.
func (e *estate) jobs(t *testing.T) map[string][][]any {
	t.Helper()
	pg := testenv.Postgres(t)
	e.env = []string{"WARDSTREAM_POSTGRES_URL=" + pg.URL, "WARDSTREAM_REDIS_URL=" + e.url("detector")}
	e.command("migrate").answers(t, 0)
	sent := map[string][][]any{}
	for _, job := range []struct {
		user string
		do   func(t *testing.T)
	}{
		{"detector", func(t *testing.T) { e.detects(t, pg) }},
		{"operator", e.operates},
		{"ingress-check", e.guards},
		{"ingress-check-mirror", e.mirrors},
		{"ingress-check-feed", e.feeds},
		{"producer", e.produces},
	} {
		t.Run(job.user, func(t *testing.T) { sent[job.user] = e.record(t, job.user, job.do) })
		if len(sent[job.user]) == 0 {
			t.Errorf("%s sent nothing", job.user)
		}
	}
	e.t = t
	if log, err := e.server.Client.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(log) > 0 {
		t.Errorf("denied: %v, %v", log, err)
	}
	return sent
}

// produces publishes, as the library does.
func (e *estate) produces(t *testing.T) {
	client, err := redislookup.Connect(e.url("producer"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := publisher.New(client)
	p.Publish(publisher.Event{Type: failed, Attributes: map[string]any{"source.address": visitor}})
	if err := p.Close(t.Context()); err != nil || p.Stats().Published != 1 {
		t.Errorf("published %+v, %v", p.Stats(), err)
	}
}

// detects has a worker do everything, find that entries are lost, and keep a batch in flight for so
// long that it must be kept from other claimers.
func (e *estate) detects(t *testing.T, pg *testenv.PostgresEnv) {
	e.command("block", "user", "blocked", "--reason", "so that there is something to copy").answers(t, 0)
	e.everyJob()

	before := len(e.seen.all())
	e.publish("event_type", "x")
	if n, err := e.server.Client.XTrimMaxLen(t.Context(), e.stream(), 0).Result(); n == 0 || err != nil {
		t.Fatalf("trimmed %d, %v", n, err)
	}
	if _, err := pg.Pool.Exec(t.Context(), "UPDATE permanent_blocks SET revoked_at = now() WHERE scope_value = 'blocked'"); err != nil {
		t.Fatal(err) // as other software revokes
	}
	w := e.start()
	e.sees(before, `"setid"`)
	e.sees(before, `"hdel"`)
	lock, err := pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Rollback(context.Background()) }) // else the pool can't be closed
	if _, err := lock.Exec(t.Context(), "LOCK TABLE permanent_blocks"); err != nil {
		t.Fatal(err)
	}
	e.publish("event_type", "model.update", "changed_fields", `["email"]`, "user.id", "43")
	e.sees(before, `"xclaim"`)
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.settled("detectors")
	w.stop()
}

// sees waits until a client has sent a command since there were so many lines.
func (e *estate) sees(since int, word string) {
	e.t.Helper()
	testenv.Eventually(e.t, patience, func() error {
		if slices.ContainsFunc(e.seen.all()[since:], func(line string) bool { return strings.Contains(strings.ToLower(line), word) }) {
			return nil
		}
		return fmt.Errorf("%s: %w", word, errNotYet)
	})
}

// operates runs the commands of operators, on scripts that Redis has forgotten.
func (e *estate) operates(t *testing.T) {
	if err := e.server.Client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	dead := e.stream() + ":dead"
	for range 3 {
		e.add(dead, "event_type", "x")
	}
	ids := e.server.Client.XRange(t.Context(), dead, "-", "+").Val()
	for _, args := range []string{
		"block ip 203.0.113.77 --ttl 1m", "block user 7", "block user 8", "unblock user 8", "blocks", "blocks user 7",
		"dead-letters list", "dead-letters requeue " + ids[0].ID, "dead-letters requeue --all --yes", "dead-letters purge " + ids[1].ID, "dead-letters purge --all --yes",
	} {
		if r := e.command(strings.Fields(args)...); r.code > 1 || r.stderr != "" {
			t.Errorf("%s: exit %d, %s", args, r.code, r.stderr)
		}
	}
}

// guards asks for those that the operator blocked, and for one that no one did.
func (e *estate) guards(t *testing.T) {
	g := guard(t, "--redis-url", e.url("ingress-check"))
	e.judged(g)
	cmd := exec.CommandContext(t.Context(), program("ingress-check"), "check", "--redis-url", e.url("ingress-check"), "--user", "7")
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("check: %v, %s", err, out)
	}
}

func (e *estate) judged(g *ingress) {
	e.t.Helper()
	g.denies("203.0.113.77", "")
	g.denies("198.51.100.99", "7")
	if status, body := g.ask("198.51.100.99", "8"); status != http.StatusOK {
		e.t.Errorf("who isn't blocked: %d %q", status, body)
	}
}

// mirrors keeps a replica, from where the changes have no head, and sees a change.
func (e *estate) mirrors(t *testing.T) {
	ctx := t.Context()
	if n := e.server.Client.Del(ctx, "wardstream:blocks:changes:head:{wardstream:blocks:changes}").Val(); n != 1 {
		t.Fatal("there was no head of changes")
	}
	g := guard(t, "--mirror", "--redis-url", e.url("ingress-check-mirror"))
	testenv.Eventually(t, patience, func() error {
		res, err := http.Get("http://" + g.addr + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "wardstream_ingress_mirror_following 1\n") {
			return errNotYet
		}
		return nil
	})
	e.judged(g)
	e.meanwhile("block", "user", "99")
	g.denies("198.51.100.99", "99")
}

// feeds publishes a request that is allowed, and one that is denied.
func (e *estate) feeds(t *testing.T) {
	g := guard(t, "--publish", "--events-stream", e.enforcement(), "--redis-url", e.url("ingress-check-feed"))
	ctx := t.Context()
	before, emitted := e.server.Client.XLen(ctx, e.stream()).Val(), e.server.Client.XLen(ctx, e.enforcement()).Val()
	e.judged(g)
	testenv.Eventually(t, patience, func() error {
		if e.server.Client.XLen(ctx, e.stream()).Val() == before || e.server.Client.XLen(ctx, e.enforcement()).Val() == emitted {
			return errNotYet
		}
		return nil
	})
}
