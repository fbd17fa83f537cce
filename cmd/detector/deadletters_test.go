package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// A letter is what the commands print of a dead letter as JSON.
type letter struct {
	ID         string      `json:"id"`
	Stream     string      `json:"stream"`
	EntryID    string      `json:"entry_id"`
	Reason     string      `json:"reason"`
	Deliveries int         `json:"deliveries"`
	At         string      `json:"at"`
	Fields     [][2]string `json:"fields"`
}

func (in *installation) letters(args ...string) []letter {
	in.t.Helper()
	var letters []letter
	in.command(append([]string{"dead-letters", "list", "--output", "json"}, args...)...).answers(in.t, 0).decode(in.t, &letters)
	return letters
}

// deadLettered has a worker make dead letters of n entries without an event type, and returns their
// IDs there.
func (in *installation) deadLettered(n int) (entries []string) {
	in.t.Helper()
	for i := range n {
		entries = append(entries, in.publish("user.name", fmt.Sprint("eve", i), "source.address", attacker))
	}
	w := in.start()
	w.reaches("wardstream_dead_letters_total", float64(n))
	in.settled("detectors")
	w.stop()
	return entries
}

func TestDeadLettersList(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	in.command("dead-letters", "list").answers(t, 0).says(t, "no dead letters\n")
	if letters := in.letters(); letters == nil || len(letters) != 0 {
		t.Errorf("no dead letters as JSON: %v", letters)
	}
	entries := in.deadLettered(3)
	letters := in.letters()
	if len(letters) != 3 {
		t.Fatalf("dead letters %+v", letters)
	}
	for i, l := range letters {
		if l.EntryID != entries[i] || l.Stream != in.stream() || !strings.HasPrefix(l.Reason, "no_event_type: ") ||
			l.Deliveries != 1 || l.At == "" || len(l.Fields) != 2 || l.Fields[0] != [2]string{"user.name", fmt.Sprint("eve", i)} {
			t.Errorf("dead letter %+v", l)
		}
	}
	in.command("dead-letters", "list").answers(t, 0).says(t, "ID ", "REASON", letters[2].ID, "user.name=eve2 source.address=203.0.113.9")
	r := in.command("dead-letters", "list", "--limit", "2")
	if r.code != 0 || strings.Count(r.stdout, "\n") != 3 || !strings.HasSuffix(r.stderr, "has more than 2 dead letters; --limit 0 lists all\n") {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	in.command("dead-letters", "list", "--limit", "3").answers(t, 0)
	if n := len(in.letters("--stream", in.stream())); n != 3 {
		t.Errorf("%d of the stream", n)
	}
	in.command("dead-letters", "list", "--stream", "other").fails(t, `--stream "other": is not one of the configured streams`)
}

func TestDeadLettersRequeue(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	entries := in.deadLettered(3)
	letters := in.letters()
	in.command("dead-letters", "requeue", letters[1].ID).answers(t, 0).says(t, "requeued 1 of 1\n")
	in.command("dead-letters", "requeue", letters[1].ID, letters[2].ID).answers(t, 1).says(t, "requeued 1 of 2\n")
	var n struct {
		Requeued int `json:"requeued"`
	}
	in.command("dead-letters", "requeue", "--all", "--yes", "--output", "json").answers(t, 0).decode(t, &n)
	if n.Requeued != 1 || len(in.letters()) != 0 {
		t.Errorf("requeued %d, %d left", n.Requeued, len(in.letters()))
	}
	in.command("dead-letters", "requeue", "--all", "--yes").answers(t, 0).says(t, "requeued 0\n")
	w := in.start() // they are no better than before
	w.reaches("wardstream_dead_letters_total", 3)
	w.stop()
	for _, l := range in.letters() {
		if id := l.Fields[len(l.Fields)-1]; id[0] != "event_id" || !strings.Contains(strings.Join(entries, " "), id[1]) {
			t.Errorf("requeued as %v", l.Fields)
		}
	}
}

// TestDeadLettersRequeueEditedEntryCounts: an entry that lacks its type, has a field twice and one
// too many is put right, requeued and handled: with four others it is an attack.
func TestDeadLettersRequeueEditedEntryCounts(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "rules: [{name: brute_force_login}]\n")
	for range 4 {
		in.publish("event_type", "auth.login.failed", "source.address", attacker, "user.name", "eve")
	}
	in.publish("source.address", attacker, "user.name", "eve", "user.name", "eve", "debug", "{")
	w := in.start()
	w.reaches("wardstream_dead_letters_total", 1)
	id := in.letters()[0].ID
	in.command("blocks", "ip", attacker).answers(t, 1)
	fix := []string{"dead-letters", "requeue", id, "--set", "event_type=auth.login.failed", "--set", "user.name=e=ve", "--unset", "debug"}
	in.command(fix...).answers(t, 0).says(t, "requeued 1 of 1\n")
	in.command(fix...).answers(t, 1).says(t, "requeued 0 of 1\n")
	w.reaches("wardstream_events_evaluated_total", 5)
	in.settled("detectors")
	in.command("blocks", "ip", attacker).answers(t, 0)
	w.stop()

	in.command("dead-letters", "requeue", "1-1", "2-2", "--set", "a=b").fails(t, "--set and --unset change one dead letter: name its ID")
	in.command("dead-letters", "requeue", "--all", "--yes", "--unset", "a").fails(t, "--set and --unset change one dead letter: name its ID")
	for _, text := range []string{"a", "=a", ""} {
		in.command("dead-letters", "requeue", "1-1", "--set", text).fails(t, fmt.Sprintf("--set %q: write NAME=VALUE", text))
	}
}

// TestDeadLettersRequeueConcurrently: two processes requeue the same dead letters at once; each is
// requeued by one of them.
func TestDeadLettersRequeueConcurrently(t *testing.T) {
	t.Parallel()
	const dead = 400
	in := install(t, testenv.Redis(t), nil, "")
	in.deadLettered(dead)
	counts := make([]struct {
		Requeued int `json:"requeued"`
	}, 2)
	var both sync.WaitGroup
	for i := range counts {
		both.Go(func() {
			in.command("dead-letters", "requeue", "--all", "--yes", "--output", "json").answers(t, 0).decode(t, &counts[i])
		})
	}
	both.Wait()
	if n := counts[0].Requeued + counts[1].Requeued; n != dead || len(in.letters()) != 0 {
		t.Errorf("requeued %+v of %d, %d left", counts, dead, len(in.letters()))
	}
	entries, ids := in.redis.Client.XRange(t.Context(), in.stream(), "-", "+").Val(), map[any]int{}
	for _, e := range entries[dead:] {
		ids[e.Values["event_id"]]++
	}
	if len(entries) != 2*dead || len(ids) != dead {
		t.Errorf("the stream has %d entries, of %d requeued ones", len(entries), len(ids))
	}
}

func TestDeadLettersPurge(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	in.deadLettered(4)
	letters := in.letters()
	in.command("dead-letters", "purge", letters[0].ID).answers(t, 0).says(t, "purged 1 of 1\n")
	in.command("dead-letters", "purge", letters[0].ID, letters[1].ID).answers(t, 1).says(t, "purged 1 of 2\n")
	in.command("dead-letters", "purge", "--older-than", "1h").answers(t, 0).says(t, "purged 0\n")
	in.add(in.stream()+":dead", "by", "another") // the newest
	in.command("dead-letters", "purge", "--all").fails(t, "add --yes")
	in.command("dead-letters", "requeue", "--all").fails(t, "add --yes")
	if n := len(in.letters()); n != 3 {
		t.Errorf("%d left", n)
	}
	var n struct {
		Purged int `json:"purged"`
	}
	in.command("dead-letters", "purge", "--older-than", "0s", "--output", "json").answers(t, 0).decode(t, &n)
	if n.Purged != 3 {
		t.Errorf("purged %d", n.Purged)
	}
	in.add(in.stream()+":dead", "by", "another")
	in.command("dead-letters", "purge", "--all", "--yes").answers(t, 0).says(t, "purged 1\n")
}

// TestDeadLettersPurgeByAge goes by the dead letters' IDs, over more than a page of them.
func TestDeadLettersPurgeByAge(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	dead := in.stream() + ":dead"
	for i := range 250 { // of 1970
		if err := in.redis.Client.Do(t.Context(), "XADD", dead, fmt.Sprintf("%d-1", i+1), "f", "v").Err(); err != nil {
			t.Fatal(err)
		}
	}
	in.add(dead, "f", "v")
	in.command("dead-letters", "purge", "--older-than", "7d").answers(t, 0).says(t, "purged 250\n")
	if n := len(in.letters()); n != 1 {
		t.Errorf("%d left", n)
	}
}

func TestDeadLettersOfSeveralStreams(t *testing.T) {
	t.Parallel()
	in := install(t, testenv.Redis(t), nil, "")
	one, other := in.stream(), in.redis.Prefix+":more"
	in.env = append(in.env, "WARDSTREAM_STREAM_NAMES="+one+","+other)
	in.add(one+":dead", "n", "1")
	in.add(other+":dead", "n", "2")
	if letters := in.letters(); len(letters) != 2 || letters[0].Stream != one || letters[1].Stream != other {
		t.Errorf("dead letters %+v", letters)
	}
	if letters := in.letters("--stream", other+":dead"); len(letters) != 1 || letters[0].Fields[0][1] != "2" {
		t.Errorf("dead letters %+v", letters)
	}
	in.command("dead-letters", "requeue", "--all", "--yes").fails(t, "several streams are configured: say which by --stream")
	in.command("dead-letters", "purge", "--all", "--yes").fails(t, "several streams are configured: say which by --stream")
	in.command("dead-letters", "purge", "--all", "--yes", "--stream", other).answers(t, 0).says(t, "purged 1\n")
	in.command("dead-letters", "requeue", "--all", "--yes", "--stream", one).answers(t, 0).says(t, "requeued 1\n")
}
