package deadletter

import (
	"context"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
)

func TestListPages(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	ids := b.add(25)
	b.die()
	// An entry among them that no Writer wrote.
	foreign := b.client.XAdd(ctx, &redis.XAddArgs{Stream: rediskey.DeadLetters(b.stream), Values: []string{"a", "b"}}).Val()
	var listed []string
	after := ""
	for {
		page, err := b.List(ctx, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].ID
		for _, letter := range page {
			listed = append(listed, letter.EntryID)
		}
	}
	if !slices.Equal(listed, append(ids, "")) || after != foreign {
		t.Errorf("listed %v", listed)
	}
	if n, err := b.Len(ctx); err != nil || n != 26 {
		t.Errorf("Len is %d, %v", n, err)
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	ctx := context.Background()
	b.add(20)
	letters := b.die()
	for _, tc := range []struct {
		ids  []string
		want int64
	}{{nil, 0}, {[]string{letters[0].ID, letters[1].ID, "9-9"}, 2}, {[]string{letters[0].ID}, 0}} {
		if n, err := b.Purge(ctx, tc.ids...); err != nil || n != tc.want {
			t.Errorf("Purge(%v) = %d, %v, want %d", tc.ids, n, err, tc.want)
		}
	}
	if n, err := b.PurgeAll(ctx); err != nil || n != 18 {
		t.Errorf("PurgeAll = %d, %v", n, err)
	}
	if n, err := b.PurgeAll(ctx); err != nil || n != 0 {
		t.Errorf("PurgeAll again = %d, %v", n, err)
	}
	if _, err := b.Purge(ctx, "no id"); err == nil {
		t.Error("a malformed ID is not an error")
	}
}
