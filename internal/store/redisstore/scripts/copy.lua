-- Writes the copy of a block that Postgres has: its key, and its field in the membership hash if there
-- is one. Postgres decides between permanent blocks, so this one replaces any but a temporary
-- block that ends later.
-- KEYS   1 block key; 2 tombstone, in the same slot; for a new block, and not in a Redis Cluster, also
--        3 membership hash; 4 generation
-- ARGV   1 value as wire.EncodeCopy writes it; 2 time in ms of the event it began with, '' for an operator's
--        own wish; 3 TTL in ms of a copy; 4 field in the membership hash; 5 its value; 6 new generation
-- Result store.Outcome as far as this key shows: Began where there was none or the same block was
-- Cost   O(1): GET, GET, TIME, SET; SET, EXISTS, HSET for a new block; 6 to 10 µs of Redis
local HEAD = [==[$BLOCK_HEAD(.*)$]==]
local KEPT, BEGAN, BECAME_PERMANENT, EXTENDED, LAPSED, UNBLOCKED = 0, 1, 2, 3, 4, 5

local id, created, till, flags, rest = string.match(ARGV[1], HEAD)
till = tonumber(till)
local operator = ARGV[2] == ''
if not operator then
  local tombstone = tonumber(redis.call('GET', KEYS[2]) or '')
  if tombstone and tombstone >= tonumber(ARGV[2]) then return UNBLOCKED end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if till > 0 and till <= now then return LAPSED end
if operator then redis.call('DEL', KEYS[2]) end
if KEYS[3] then
  redis.call('SET', KEYS[4], ARGV[6], 'PX', ARGV[3])
  if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSET', KEYS[3], ARGV[4], ARGV[5]) end
end

local outcome = BEGAN
local cur = redis.call('GET', KEYS[1])
if cur then
  local cid, _, ctill, cflags = string.match(cur, [==[$BLOCK_HEAD]==])
  ctill = tonumber(ctill)
  if not cid then
    local left = redis.call('PTTL', KEYS[1])
    cid, ctill, cflags = '', left > 0 and now + left or 0, ''
  end
  local same = cid ~= '' and cid == id
  local copied = string.find(cflags, 'c', 1, true)
  if till == 0 then
    if ctill > 0 then
      outcome, flags = BECAME_PERMANENT, flags .. 'b'
    elseif not same then
      outcome = KEPT
    elseif string.find(cflags, 'b', 1, true) then
      outcome, flags = BECAME_PERMANENT, flags .. 'b'
    end
  elseif ctill >= till or ctill == 0 and not copied then
    return same and BEGAN or KEPT
  elseif not same then
    outcome = EXTENDED
  end
end

local value = '{"id":"' .. id .. '","created_at":' .. created .. ',"until":' .. string.format('%.0f', till)
  .. ',"flags":"' .. flags .. '",' .. rest
if till > 0 and till - now < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', till))
else
  redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
end
return outcome
