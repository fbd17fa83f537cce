-- Adds records to the logs of several windows and returns the logs as they were.
--
-- KEYS   the windows' logs, strings of 22-byte records
-- ARGV   four for each key: TTL in milliseconds; capacity in members;
--        "1" if a member that comes again moves to its latest time, else "0";
--        the records to add, "" to add none
-- Result an array of the logs before the call, "" for a window that was not there
-- Cost   a window: GET, APPEND and PEXPIRE, whatever its size; each time it reaches twice its
--        capacity, one pass and one sort over it instead of the APPEND

local function number(log, from, to)
  local n = 0
  for i = from, to do n = n * 256 + string.byte(log, i) end
  return n
end

local CLEAR = string.rep('\255', 8)
local NOBODY = string.rep('\0', 8)

-- The newest members, each once and none that was cleared, after the newest clear of each tag.
local function compact(log, capacity, latest)
  local clears, members = {}, {}
  for at = 1, #log - 21, 22 do
    local tag, member = string.sub(log, at + 6, at + 13), string.sub(log, at + 14, at + 21)
    local time = number(log, at, at + 5)
    local book, id = members, member
    if member == CLEAR then book, id = clears, tag end
    local held = book[id]
    if not held or (member == CLEAR or latest) and time > held.time or not (member == CLEAR or latest) and time < held.time then
      book[id] = { time = time, tag = tag, at = at }
    end
  end
  local function newest(book, keep)
    local list = {}
    for _, r in pairs(book) do
      if keep(r) then list[#list + 1] = r end
    end
    table.sort(list, function(a, b)
      if a.time ~= b.time then return a.time < b.time end
      return number(log, a.at + 14, a.at + 19) < number(log, b.at + 14, b.at + 19)
    end)
    local out = {}
    for i = math.max(1, #list - capacity + 1), #list do
      out[#out + 1] = string.sub(log, list[i].at, list[i].at + 21)
    end
    return table.concat(out)
  end
  local function always() return true end
  local function live(r)
    local one, all = clears[r.tag], clears[NOBODY]
    return not (one and r.time <= one.time) and not (all and r.time <= all.time)
  end
  return newest(clears, always) .. newest(members, live)
end

local logs = {}
for i, key in ipairs(KEYS) do
  local ttl, capacity = ARGV[4 * i - 3], tonumber(ARGV[4 * i - 2])
  local records = ARGV[4 * i]
  local log = redis.call('GET', key) or ''
  logs[i] = log
  if #records > 0 then
    if #log + #records <= 44 * capacity then
      redis.call('APPEND', key, records)
      redis.call('PEXPIRE', key, ttl)
    else
      redis.call('SET', key, compact(log .. records, capacity, ARGV[4 * i - 1] == '1'), 'PX', ttl)
    end
  end
end
return logs
