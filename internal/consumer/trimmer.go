package consumer

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/redislua"
)

// trimLimit is how many entries one call of the script trims at most, so that
// others need not wait for it: about a millisecond.
const trimLimit = 10_000

//go:embed scripts/trim.lua
var trimSource string

var trimScript = redislua.New(prelude + trimSource)

// A trimmer trims the stream to its retention.
type trimmer struct {
	*member
	retention time.Duration // 0 keeps all
}

func (t *trimmer) trim(ctx context.Context) error {
	if t.retention == 0 {
		return nil
	}
	n, err := trim(ctx, t.clients.Ops, t.stream, t.group, t.retention)
	t.metrics.trimmed.Add(float64(n))
	return err
}

// trim trims the stream to the retention, as far as it gets before ctx ends, and returns how many
// entries went. Any worker may do so at any time.
func trim(ctx context.Context, client redis.UniversalClient, stream, group string, retention time.Duration) (int64, error) {
	var trimmed int64
	for {
		n, err := trimScript.Run(ctx, client, []string{stream}, group, retention.Milliseconds(), trimLimit).Int64()
		if err != nil {
			return trimmed, fmt.Errorf("trim stream: %w", err)
		}
		if trimmed += n; n < trimLimit/2 {
			return trimmed, nil
		}
	}
}
