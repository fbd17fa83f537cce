package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// trimLimit is how many entries one call of the script trims at most, so that
// others need not wait for it: about a millisecond.
const trimLimit = 10_000

// trimScript trims entries that are older than the retention and that no group has
// unread or pending. It does nothing where our group isn't there, since it would
// read from the start.
//
//	KEYS: the stream
//	ARGV: our group, the retention in ms, how many entries to trim at most
//	Result: how many entries were trimmed
//	Cost: O(groups), plus O(1) per block of 100 entries trimmed
var trimScript = redis.NewScript(luaPrelude + `
local all = groups(KEYS[1])
if not all[ARGV[1]] then return 0 end
local now = redis.call('TIME')[1]
local cut = math.floor(now * 1000 - ARGV[2])
if cut <= 0 then return 0 end
local id = string.format('%.0f-0', cut)
for name, g in pairs(all) do
	local needed = {g['last-delivered-id']}
	if g.pending > 0 then needed[2] = redis.call('XPENDING', KEYS[1], name)[2] end -- later than what is unread once a group was set back
	for _, first in ipairs(needed) do
		if before(first, id) then id = first end
	end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', id, 'LIMIT', ARGV[3])
`)

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
