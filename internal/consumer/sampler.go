package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// sampleScript measures how far the group is behind. Where entries were trimmed
// before the group read them, it sets the group's count of entries read right, so that the
// lag is true again and the loss is counted once by whoever sees it first.
//
// Redis 7 counts the entries added to a stream and those a group has read. What is neither
// read nor there was trimmed unread. How many there are is known when none are there (the
// group is at the end) and when all are (it is before the first).
//
//	KEYS: the stream
//	ARGV: group
//	Result: lag (-1 if Redis doesn't know), pending, age of the oldest unprocessed entry in ms, entries trimmed unread;
//	        nil if the group isn't there
//	Cost: O(groups)
var sampleScript = redis.NewScript(luaPrelude + `
local g = groups(KEYS[1])[ARGV[1]]
if not g then return false end
local read = g['last-delivered-id']
local stream = record(redis.call('XINFO', 'STREAM', KEYS[1]))
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local unread = redis.call('XRANGE', KEYS[1], '(' .. read, '+', 'COUNT', 1)[1]

local oldest = unread and unread[1]
if g.pending > 0 then oldest = redis.call('XPENDING', KEYS[1], ARGV[1])[2] end
local age = 0
if oldest then
	local now = redis.call('TIME')
	age = math.max(0, math.floor(now[1] * 1000 + now[2] / 1000) - tonumber(string.match(oldest, '^%d+')))
end

local lag, lost = g.lag or -1, 0
local left
if not unread then left = 0 elseif unread[1] == first[1] then left = stream.length end
if left and g['entries-read'] and stream['entries-added'] then
	lost = stream['entries-added'] - g['entries-read'] - left
	if lost > 0 and redis.pcall('XGROUP', 'SETID', KEYS[1], ARGV[1], read, 'ENTRIESREAD', stream['entries-added'] - left).err == nil then
		lag = left
	else
		lost = 0
	end
end
return {lag, g.pending, age, lost}
`)

// A sample is how far a group is behind.
type sample struct {
	lag     int64         // entries not delivered; -1 if not known
	pending int64         // entries delivered but not acked
	oldest  time.Duration // age of the oldest of either
	lost    int64         // entries trimmed before anybody read them, not counted before
}

// takeSample measures; ok is false if the group isn't there.
func takeSample(ctx context.Context, client redis.UniversalClient, stream, group string) (s sample, ok bool, err error) {
	reply, err := sampleScript.Run(ctx, client, []string{stream}, group).Int64Slice()
	if errors.Is(err, redis.Nil) {
		return sample{}, false, nil
	}
	if err == nil && len(reply) != 4 {
		err = errReply
	}
	if err != nil {
		return sample{}, false, fmt.Errorf("measure stream: %w", err)
	}
	return sample{lag: reply[0], pending: reply[1], oldest: time.Duration(reply[2]) * time.Millisecond, lost: reply[3]}, true, nil
}
