package consumer

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/resp"
)

// A Shedding says which entries are skipped once they are older than MaxLag: those that have one field named Field with one
// of Values, and none named Unless. Where that can't be told in Redis, because there is more in the field than letters (a line end, quotes, bytes that are
// no text), they are read, for the handler to tell.
type Shedding struct {
	Field  string
	Values []string // one that ends in * stands for all that begin so
	Unless string
	// Count is told how many were skipped. Those of a reply that got lost are not counted.
	Count func(entries int)
}

const (
	// shedEntries is how many entries one call of shedScript looks at, which keeps Redis from others for a millisecond;
	// shedCalls is how many calls make up one read at most.
	shedEntries = 128
	shedCalls   = 16

	// clockSlack is how far the clock of Redis may be ahead of ours.
	clockSlack = time.Second

	// shedRest is how long entries are read the usual way where the script is refused, shedPause where it keeps most: it
	// costs Redis more than a plain read then, and saves little.
	shedRest  = time.Minute
	shedPause = time.Second
)

// shedScript reads new entries, and skips those that are late and say in one field that they may be skipped. Skipped ones
// are delivered to nobody and never pending; all others are, as by a plain read. XCLAIM, which makes them so, is tried first: whatever
// has it refused has it refused before anything is taken from the stream. Redis carries out and replicates a script as a whole.
//
//	KEYS: the stream
//	ARGV: group, consumer, how many entries to look at, age in ms from which they are late, the field, the one
//	  that keeps entries, then values to skip
//	Result: how many were skipped, and the others as XREADGROUP lists them
//	Cost: O(entries), 10 µs for one of nine fields, where reading and acking it costs 6, and handling it too 12
const shedSource = `
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, '0-0', 'JUSTID')
local field, unless = ARGV[5], ARGV[6]
local values, beginnings = {}, {}
for i = 7, #ARGV do
	if string.sub(ARGV[i], -1) == '*' then
		beginnings[#beginnings + 1] = string.sub(ARGV[i], 1, -2)
	else
		values[ARGV[i]] = true
	end
end
local function may(value)
	if values[value] then return true end
	if string.find(value, '[^\32-\126]') then return false end
	for _, beginning in ipairs(beginnings) do
		if string.sub(value, 1, #beginning) == beginning then return true end
	end
	return false
end
local function skipped(fields)
	local found = false
	for i = 1, #fields, 2 do
		if fields[i] == unless then return false end
		if fields[i] == field then
			if found or not may(fields[i + 1]) then return false end
			found = true
		end
	end
	return found
end

local now = redis.call('TIME')
local late = now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[4]
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'NOACK', 'STREAMS', KEYS[1], '>')
if not reply then return {0, {}} end
local function isLate(entry) return tonumber(string.match(entry[1], '^%d+')) < late end
local entries = reply[1][2]
local all = isLate(entries[#entries])
local skips, kept = 0, {}
local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for _, entry in ipairs(entries) do
	if (all or isLate(entry)) and skipped(entry[2]) then
		skips = skips + 1
	else
		kept[#kept + 1] = entry
		claim[#claim + 1] = entry[1]
	end
end
if #kept > 0 then
	for _, option in ipairs({'RETRYCOUNT', 1, 'FORCE', 'JUSTID'}) do claim[#claim + 1] = option end
	redis.call(unpack(claim))
end
return {skips, kept}
`

var shedScript = redis.NewScript(shedSource)

// behind says whether the next new entries are late, as far as is known, so that some may be skipped in Redis.
func (l *loop) behind() bool {
	return l.late && !l.shedDue.After(l.Now())
}

// isLate says whether the first of entries is late, and some may be skipped. By our clock, generously: the script asks Redis'.
func (l *loop) isLate(entries []Entry) bool {
	if l.MaxLag == 0 || len(l.Shed.Values) == 0 || len(entries) == 0 {
		return false
	}
	text, _, _ := strings.Cut(entries[0].ID, "-")
	ms, _ := strconv.ParseInt(text, 10, 64) // Redis made it
	return l.Now().Add(clockSlack).Sub(time.UnixMilli(ms)) >= l.MaxLag
}

// fetchBehind reads, as fetch does, of new entries those that are not skipped. If it fails, what it has
// read already is pending, and drained.
func (l *loop) fetchBehind(ctx context.Context) ([]Entry, error) {
	var entries []Entry
	for range shedCalls {
		skipped, kept, err := l.shed(ctx)
		if err != nil {
			l.late = false
			if resp.IsError(err, "") { // any: it would say so again
				l.shedDue = l.Now().Add(shedRest)
			}
			return nil, fmt.Errorf("skip late entries: %w", err)
		}
		l.metrics.delivered.Add(float64(skipped))
		l.metrics.acked.Add(float64(skipped)) // or as good as
		l.Shed.Count(skipped)
		entries = append(entries, kept...)
		l.late = skipped > 0 || l.isLate(kept)
		if len(kept) > skipped && skipped+len(kept) == shedEntries {
			l.shedDue = l.Now().Add(shedPause)
			break
		}
		if skipped == 0 || len(entries)+shedEntries > l.count {
			break
		}
	}
	return entries, nil
}

// shed calls the script.
func (l *loop) shed(ctx context.Context) (skipped int, kept []Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	args := []any{
		"EVALSHA", shedScript.Hash(), 1, l.stream, l.Group, l.name, min(l.count, shedEntries), l.MaxLag.Milliseconds(), l.Shed.Field, l.Shed.Unless,
	}
	for _, value := range l.Shed.Values {
		args = append(args, value)
	}
	raw, err := resp.Fetch(ctx, l.Clients.Read, l.stream, 0, args...)
	if resp.IsError(err, "NOSCRIPT") {
		args[0], args[1] = "EVAL", shedSource
		raw, err = resp.Fetch(ctx, l.Clients.Read, l.stream, 0, args...)
	}
	if err != nil {
		return 0, nil, err
	}
	skipped, entries, err := resp.CountAndEntries(raw)
	l.adapt(len(raw), len(entries))
	return skipped, entriesOf(l.stream, entries), err
}
