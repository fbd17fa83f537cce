package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// removeScript removes consumers that own nothing pending; XGROUP DELCONSUMER
// would drop what they own. In one script, nothing can be delivered to them in between.
//
//	KEYS: the stream
//	ARGV: group, a consumer's name (or empty for all), how long they must have been idle in ms
//	Result: the names of those removed
//	Cost: O(consumers)
var removeScript = redis.NewScript(luaPrelude + `
local removed = {}
if not groups(KEYS[1])[ARGV[1]] then return removed end
for _, list in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
	local c = record(list)
	if c.pending == 0 and c.idle >= tonumber(ARGV[3]) and (ARGV[2] == '' or c.name == ARGV[2]) then
		redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
		removed[#removed + 1] = c.name
	end
end
return removed
`)

// A janitor removes consumers of the group that are gone.
type janitor struct {
	*member
	idle time.Duration // after which a consumer that owns nothing is gone
}

func (j *janitor) sweep(ctx context.Context) error {
	names, err := removeConsumers(ctx, j.clients.Ops, j.stream, j.group, "", j.idle)
	if len(names) > 0 {
		j.log.Info("removed consumers that are gone", "names", names)
	}
	return err
}

// removeConsumers removes the named consumer, or all if name is empty, if they own
// nothing and have been idle for as long.
func removeConsumers(ctx context.Context, client redis.UniversalClient, stream, group, name string, idle time.Duration) ([]string, error) {
	names, err := removeScript.Run(ctx, client, []string{stream}, group, name, idle.Milliseconds()).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("remove consumers: %w", err)
	}
	return names, nil
}
