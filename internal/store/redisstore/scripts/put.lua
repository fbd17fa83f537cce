-- Puts one block. Of two blocks the stronger stays: permanent over temporary, the later
-- end over the earlier; store.State.Decide says the same in Go.
-- KEYS   1 block key; 2 tombstone, in the same slot; not in a Redis Cluster also 3 membership hash
-- ARGV   1 value as wire.EncodeBlock writes it; 2 where its part after the head begins; 3 the block's ID; 4 its end in
--        ms since 1970, 0 for a permanent block; 5 when its evidence begins in ms, '' for an operator's own wish; 6 TTL in ms of a
--        permanent block; 7 the scope's field in the membership hash
-- Result {store.Outcome}: what is in force is ARGV 1 (Began), or nothing;
--        {store.Outcome, value in force}; {store.Outcome, value in force, 1}: it is the membership hash's;
--        {Extended, ID in force, created_at in force as JSON}: for the rest it is ARGV 1
-- Cost   O(1): GET, GET, TIME, HGET and at most a SET; 7 to 9 µs of Redis
local KEPT, BEGAN, BECAME_PERMANENT, EXTENDED, LAPSED, UNBLOCKED = 0, 1, 2, 3, 4, 5

local till = tonumber(ARGV[4])
local operator = ARGV[5] == ''
local cur = redis.call('GET', KEYS[1])

if not operator then
  local tombstone = redis.call('GET', KEYS[2])
  if tombstone and tonumber(tombstone) >= tonumber(ARGV[5]) then return {UNBLOCKED, cur or nil} end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if till > 0 and till <= now then return {LAPSED, cur or nil} end
if operator then redis.call('DEL', KEYS[2]) end

-- A value without our head is another writer's: its TTL is all there is to compare, and
-- what no reader can read is none.
local cid, ccreated, ctill, cflags
if cur then
  cid, ccreated, ctill, cflags = string.match(cur, [==[$BLOCK_HEAD]==])
  ctill = tonumber(ctill)
  if not cid then
    local ok, doc = pcall(cjson.decode, cur)
    if ok and type(doc) == 'table' and doc.scope_type and doc.scope_value then
      local left = redis.call('PTTL', KEYS[1])
      local since = type(doc.created_at) == 'string' and string.match(doc.created_at, '^[%dTZ:.+-]+$')
      cid, ccreated, ctill, cflags = '', since and '"' .. since .. '"' or 'null', left > 0 and now + left or 0, ''
    else
      cur = false
    end
  end
end
local repeated = cur and cid ~= '' and cid == ARGV[3]

if till > 0 and KEYS[3] and not (cur and ctill == 0) then
  local member = redis.call('HGET', KEYS[3], ARGV[7])
  if member then
    local ends = tonumber(string.match(member, [==[$MEMBER_END]==]) or '')
    if not ends or ends >= till and not repeated then return {KEPT, member, 1} end
  end
end

local function write(value)
  if till == 0 then
    redis.call('SET', KEYS[1], value, 'PX', ARGV[6])
  else
    redis.call('SET', KEYS[1], value, 'PXAT', ARGV[4])
  end
  return value
end

local function headed(id, flags)
  return '{"id":"' .. id .. '","created_at":' .. ccreated .. ',"until":' .. ARGV[4] .. ',"flags":"' .. flags .. '",'
    .. string.sub(ARGV[1], tonumber(ARGV[2]))
end

if not cur then
  write(ARGV[1])
  return {BEGAN}
end
if till == 0 then
  if ctill > 0 then return {BECAME_PERMANENT, write(headed(ARGV[3], 'b'))} end
  if operator then
    cur = write(headed(cid, cflags))
  else
    redis.call('PEXPIRE', KEYS[1], ARGV[6])
  end
  if not repeated then return {KEPT, cur} end
  return {string.find(cflags, 'b', 1, true) and BECAME_PERMANENT or BEGAN, cur}
end
if ctill == 0 then return {KEPT, cur} end
if till > ctill then
  cur = write(headed(cid, cflags))
  if not repeated then return {EXTENDED, cid, ccreated} end
end
return {repeated and BEGAN or KEPT, cur}
