package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/wardstream/wardstream/internal/testenv"
)

// TestRetentionModel: whatever groups have done with a stream, trimming takes an entry exactly if
// it is older than the retention and every group was delivered a later one and has nothing pending
// at or before it. The server keeps each entry by itself; others keep up to 99 more.
func TestRetentionModel(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t, "--stream-node-max-entries", "1")
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &trimModel{
			rt: rt, client: env.Client, stream: fmt.Sprintf("%s:%d", env.Prefix, runs), groups: map[string]*groupModel{},
			last: entryID{ms: uint64(time.Now().Add(-3 * trimRetention).UnixMilli())},
		}
		steps := map[string]func(){
			"add": m.add, "create": m.create, "read": m.read, "ack": m.ack, "claim": m.claim, "delete": m.remove,
			"leave": m.leave, "set": m.set, "destroy": m.destroy, "trim": m.trim,
		}
		often := []string{"add", "add", "add", "create", "read", "read", "read", "ack", "ack", "claim", "delete", "leave", "set", "destroy", "trim"}
		m.add()
		m.create()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			steps[rapid.SampledFrom(often).Draw(rt, "step")]()
		}
		m.trim()
	})
}

const trimRetention = time.Hour

// An entryID is that of an entry, in numbers.
type entryID struct{ ms, seq uint64 }

func (i entryID) String() string { return fmt.Sprintf("%d-%d", i.ms, i.seq) }

func (i entryID) compare(o entryID) int {
	return cmp.Or(cmp.Compare(i.ms, o.ms), cmp.Compare(i.seq, o.seq))
}

func compareIDs(a, b entryID) int { return a.compare(b) }

// A trimModel is what is known of a stream.
type trimModel struct {
	rt      *rapid.T
	client  *redis.Client
	stream  string
	last    entryID
	recent  bool      // what is added now is younger than the retention
	entries []entryID // that are there
	groups  map[string]*groupModel
}

type groupModel struct {
	delivered entryID            // the last one
	pending   map[entryID]string // consumers
}

func (m *trimModel) must(err error) {
	if err != nil && !errors.Is(err, redis.Nil) {
		m.rt.Fatalf("Redis: %v", err)
	}
}

// add adds entries whose IDs are near one another, of the same millisecond and not, of as many
// digits and of more.
func (m *trimModel) add() {
	if !m.recent && rapid.IntRange(0, 5).Draw(m.rt, "recent") == 0 {
		m.recent, m.last = true, entryID{ms: uint64(time.Now().Add(-trimRetention / 2).UnixMilli())}
	}
	pipe := m.client.Pipeline()
	for range rapid.IntRange(1, 8).Draw(m.rt, "entries") {
		if rapid.Bool().Draw(m.rt, "later") {
			m.last = entryID{ms: m.last.ms + rapid.Uint64Range(1, 50).Draw(m.rt, "ms")}
		} else {
			m.last.seq += rapid.SampledFrom([]uint64{1, 2, 9, 1 << 53}).Draw(m.rt, "seq")
		}
		pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: m.stream, ID: m.last.String(), Values: []string{"f", "v"}})
		m.entries = append(m.entries, m.last)
	}
	_, err := pipe.Exec(context.Background())
	m.must(err)
}

// group draws a group, nil if there is none.
func (m *trimModel) group() (string, *groupModel) {
	if len(m.groups) == 0 {
		return "", nil
	}
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(m.groups))).Draw(m.rt, "group")
	return name, m.groups[name]
}

// place draws a place in the stream: its start, its end, an entry.
func (m *trimModel) place() entryID {
	return rapid.SampledFrom(append([]entryID{{}, m.last}, m.entries...)).Draw(m.rt, "place")
}

func (m *trimModel) create() {
	name := rapid.SampledFrom([]string{testGroup, testGroup, "other", "third"}).Draw(m.rt, "name")
	if m.groups[name] != nil {
		return
	}
	at := m.place()
	m.must(m.client.XGroupCreate(context.Background(), m.stream, name, at.String()).Err())
	m.groups[name] = &groupModel{delivered: at, pending: map[entryID]string{}}
}

func (m *trimModel) consumer() string {
	return rapid.SampledFrom([]string{"c1", "c2"}).Draw(m.rt, "consumer")
}

func (m *trimModel) read() {
	name, g := m.group()
	if g == nil {
		return
	}
	consumer, count := m.consumer(), rapid.IntRange(1, 12).Draw(m.rt, "count")
	m.must(m.client.XReadGroup(context.Background(), &redis.XReadGroupArgs{
		Group: name, Consumer: consumer, Streams: []string{m.stream, ">"}, Count: int64(count), Block: -1,
	}).Err())
	for _, id := range m.entries {
		if count > 0 && g.delivered.compare(id) < 0 {
			g.delivered, count = id, count-1
			g.pending[id] = consumer
		}
	}
}

// some draws some of the entries pending in a group.
func (m *trimModel) some(g *groupModel) (ids []entryID, texts []string) {
	all := slices.SortedFunc(maps.Keys(g.pending), compareIDs)
	from := rapid.IntRange(0, len(all)).Draw(m.rt, "from")
	to := rapid.IntRange(from, len(all)).Draw(m.rt, "to")
	for _, id := range all[from:to] {
		ids, texts = append(ids, id), append(texts, id.String())
	}
	return ids, texts
}

func (m *trimModel) ack() {
	name, g := m.group()
	if g == nil {
		return
	}
	if ids, texts := m.some(g); len(ids) > 0 {
		m.must(m.client.XAck(context.Background(), m.stream, name, texts...).Err())
		for _, id := range ids {
			delete(g.pending, id)
		}
	}
}

// claim claims entries; those that were deleted are no longer pending then.
func (m *trimModel) claim() {
	name, g := m.group()
	if g == nil {
		return
	}
	consumer := m.consumer()
	if ids, texts := m.some(g); len(ids) > 0 {
		m.must(m.client.XClaimJustID(context.Background(), &redis.XClaimArgs{Stream: m.stream, Group: name, Consumer: consumer, Messages: texts}).Err())
		for _, id := range ids {
			if g.pending[id] = consumer; !slices.Contains(m.entries, id) {
				delete(g.pending, id)
			}
		}
	}
}

// remove deletes an entry, which may be pending.
func (m *trimModel) remove() {
	if len(m.entries) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.entries)-1).Draw(m.rt, "entry")
	m.must(m.client.XDel(context.Background(), m.stream, m.entries[i].String()).Err())
	m.entries = slices.Delete(m.entries, i, i+1)
}

// leave deletes a consumer, with what is pending for it.
func (m *trimModel) leave() {
	name, g := m.group()
	if g == nil {
		return
	}
	consumer := m.consumer()
	m.must(m.client.XGroupDelConsumer(context.Background(), m.stream, name, consumer).Err())
	maps.DeleteFunc(g.pending, func(_ entryID, c string) bool { return c == consumer })
}

// set has a group go on from elsewhere, as an operator does to have entries handled again.
func (m *trimModel) set() {
	name, g := m.group()
	if g == nil {
		return
	}
	g.delivered = m.place()
	m.must(m.client.XGroupSetID(context.Background(), m.stream, name, g.delivered.String()).Err())
}

func (m *trimModel) destroy() {
	name, g := m.group()
	if g == nil {
		return
	}
	m.must(m.client.XGroupDestroy(context.Background(), m.stream, name).Err())
	delete(m.groups, name)
}

// trim trims, and compares what is there then with what must be.
func (m *trimModel) trim() {
	before := slices.Clone(m.entries)
	young := uint64(time.Now().Add(-trimRetention).UnixMilli()) // no entry is near to it
	m.entries = slices.DeleteFunc(m.entries, func(id entryID) bool { return id.ms < young && m.done(id) })
	n, err := trim(context.Background(), m.client, m.stream, testGroup, trimRetention)
	m.must(err)
	left, err := m.client.XRange(context.Background(), m.stream, "-", "+").Result()
	m.must(err)
	var got, want []string
	for _, e := range left {
		got = append(got, e.ID)
	}
	for _, id := range m.entries {
		want = append(want, id.String())
	}
	if !slices.Equal(got, want) || int(n) != len(before)-len(want) {
		m.rt.Fatalf("trimmed %d of %v: left %v, want %v; groups %+v", n, before, got, want, slices.Collect(maps.Values(m.groups)))
	}
}

// done reports whether no group needs the entry, nor one before it. Without our group it is unknown
// what is needed.
func (m *trimModel) done(id entryID) bool {
	for _, g := range m.groups {
		for pending := range g.pending {
			if pending.compare(id) <= 0 {
				return false
			}
		}
		if g.delivered.compare(id) <= 0 {
			return false
		}
	}
	return m.groups[testGroup] != nil
}
