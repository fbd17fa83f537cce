-- Puts one block. Of two blocks the stronger stays: permanent over temporary, the later
-- end over the earlier; store.State.Decide says the same in Go.
-- KEYS   1 block key; 2 unblock mark, in the same slot; not in a Redis Cluster also 3 membership hash; 4 generation (unused)
-- ARGV   1 value as wire.EncodeBlock writes it; 2 event time in ms, '' for an operator's own wish;
--        3 TTL in ms of a permanent block; 4 the scope's field in the membership hash
-- Result {store.Outcome, value in force, 1 if that is the membership hash's}; the value is '' where it is ARGV 1, or none
-- Cost   O(1): GET, GET, TIME, HGET and at most a SET; 6 to 8 µs of Redis
local HEAD = [==[$BLOCK_HEAD]==]
local KEPT, BEGAN, BECAME_PERMANENT, EXTENDED, LAPSED, UNBLOCKED = 0, 1, 2, 3, 4, 5

local id, created, till, flags, rest = string.match(ARGV[1], HEAD)
till = tonumber(till)
local operator = ARGV[2] == ''
local cur = redis.call('GET', KEYS[1])

if not operator then
  local mark = tonumber(redis.call('GET', KEYS[2]) or '')
  if mark and mark >= tonumber(ARGV[2]) then return {UNBLOCKED, cur or '', 0} end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if till > 0 and till <= now then return {LAPSED, cur or '', 0} end
if operator then redis.call('DEL', KEYS[2]) end

-- A value without our head is another writer's: its TTL is all there is to compare, and
-- what no reader can read is none.
local cid, ccreated, ctill, cflags
if cur then
  cid, ccreated, ctill, cflags = string.match(cur, HEAD)
  ctill = tonumber(ctill)
  if not cid then
    local ok, doc = pcall(cjson.decode, cur)
    if ok and type(doc) == 'table' and doc.scope_type and doc.scope_value then
      local left = redis.call('PTTL', KEYS[1])
      cid, ccreated, ctill, cflags = '', created, left > 0 and now + left or 0, ''
    else
      cur = false
    end
  end
end

if till > 0 and KEYS[3] and not (cur and ctill == 0) then
  local member = redis.call('HGET', KEYS[3], ARGV[4])
  if member then
    local ends = tonumber(string.match(member, [==[$MEMBER_END]==]) or '')
    if not ends or ends >= till and not (cur and cid ~= '' and cid == id) then return {KEPT, member, 1} end
  end
end

local function write(as, since, with)
  local value = '{"id":"' .. as .. '","created_at":' .. since .. ',"until":' .. string.format('%.0f', till)
    .. ',"flags":"' .. with .. '",' .. rest
  if till == 0 then
    redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
  else
    redis.call('SET', KEYS[1], value, 'PXAT', string.format('%.0f', till))
  end
  return value
end

if not cur then
  write(id, created, flags)
  return {BEGAN, '', 0}
end
local repeated = id ~= '' and id == cid
if till == 0 then
  if ctill > 0 then return {BECAME_PERMANENT, write(id, ccreated, flags .. 'b'), 0} end
  if operator then
    cur = write(cid, ccreated, cflags)
  else
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
  end
  if not repeated then return {KEPT, cur, 0} end
  return {string.find(cflags, 'b', 1, true) and BECAME_PERMANENT or BEGAN, cur, 0}
end
if ctill == 0 then return {KEPT, cur, 0} end
local outcome = KEPT
if till > ctill then
  outcome, cur = EXTENDED, write(cid, ccreated, cflags)
end
if repeated then outcome = BEGAN end
return {outcome, cur, 0}
