package consumer

import (
	"context"
	"slices"
	"testing"
)

func TestEdit(t *testing.T) {
	t.Parallel()
	fields := []string{"a", "1", "b", "2", "a", "3"}
	for name, tt := range map[string]struct {
		edit Edit
		want []string
	}{
		"nothing":          {Edit{}, fields},
		"one of a name":    {Edit{Set: [][2]string{{"b", "x"}}}, []string{"a", "1", "b", "x", "a", "3"}},
		"two of a name":    {Edit{Set: [][2]string{{"a", "x"}}}, []string{"a", "x", "b", "2"}},
		"a new name":       {Edit{Set: [][2]string{{"c", ""}}}, []string{"a", "1", "b", "2", "a", "3", "c", ""}},
		"the last counts":  {Edit{Set: [][2]string{{"b", "x"}, {"b", "y"}}}, []string{"a", "1", "b", "y", "a", "3"}},
		"removed":          {Edit{Unset: []string{"a", "z"}}, []string{"b", "2"}},
		"removed, and set": {Edit{Unset: []string{"a"}, Set: [][2]string{{"a", "x"}}}, []string{"b", "2", "a", "x"}},
		"nothing is left":  {Edit{Unset: []string{"a", "b"}}, nil},
	} {
		if got := tt.edit.apply(slices.Clone(fields)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestRequeueEdited: a dead letter comes back as it was changed, under the ID that it would have counted by.
func TestRequeueEdited(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := context.Background()
	h := condemning("malformed")
	b.start(b.options(), h)
	id := b.add(1, "bad", "1")[0]
	b.drained([]string{id}, h)
	letter, admin := b.deadLetters()[0], NewDeadLetters(b.client, b.stream, "")
	if n, err := admin.RequeueEdited(ctx, letter.ID, Edit{Unset: []string{"bad", "n"}}); err == nil || n != 0 {
		t.Errorf("without fields it is requeued: %d, %v", n, err)
	}
	edit := Edit{Unset: []string{"bad"}, Set: [][2]string{{"good", "2"}}}
	for again, want := range []int{1, 0} {
		if n, err := admin.RequeueEdited(ctx, letter.ID, edit); err != nil || n != want {
			t.Errorf("time %d: requeued %d, %v", again, n, err)
		}
	}
	entries := b.client.XRange(ctx, b.stream, "("+id, "+").Val()
	if len(entries) != 1 {
		t.Fatalf("entries %v", entries)
	}
	b.drained([]string{entries[0].ID}, h)
	if got, want := h.entry(entries[0].ID).Fields, []string{"n", "0", "good", "2", fieldEventID, id}; !slices.Equal(got, want) {
		t.Errorf("requeued as %q, want %q", got, want)
	}
	if left := b.deadLetters(); len(left) != 0 {
		t.Errorf("dead letters %+v", left)
	}
}
